"""Tables as LaTeX."""

from lossbench.report.blocks import Strong, Table

_TEX = str.maketrans({letter: f"\\{letter}" for letter in "%_#&{}$"})
_TEX |= str.maketrans({"±": r"$\pm$", "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"})


def to_latex(table: Table, label: str) -> str:
    """A table as LaTeX, all text escaped; it needs the package booktabs, as its first line says."""
    frame = table.frame.rename(columns=_tex, index=_tex).map(_tex)
    frame.index = frame.index.set_names([_tex(name or "") for name in frame.index.names])
    style = frame.style.to_latex(
        hrules=True, clines="skip-last;data", caption=_tex(table.caption), label=label, multirow_align="naive"
    )
    return f"% needs \\usepackage{{booktabs}}\n{style}"


def _tex(text: object) -> str:
    written = str(text).translate(_TEX)
    return rf"\textbf{{{written}}}" if isinstance(text, Strong) else written
