"""The files that come with lossbench: its YAML files and its committed records, in a clone or in an installed wheel.

A clone has them in `conf/` and `results/`; a wheel has copies of both inside the package, of `results/` without arrays.
"""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]

_ROOT = PACKAGE if (PACKAGE / "conf").is_dir() else PACKAGE.parents[1]

CONF = _ROOT / "conf"
"""The folder of the YAML files."""

RESULTS = _ROOT / "results"
"""The folder of the committed records."""

WHERE_ARRAYS_ARE = "results/arrays/ of a clone of lossbench"
"""Where a wheel's user finds the arrays of the committed runs."""


def is_shipped(folder: str | Path) -> bool:
    """Whether a folder lies inside the installed package."""
    return Path(folder).resolve().is_relative_to(PACKAGE)


def check_not_shipped(folder: str | Path, key: str) -> None:
    """Refuse to write into the installed package; `key` names the option that gave the folder.

    Raises:
        ValueError: the folder lies inside the package.
    """
    if is_shipped(folder):
        raise ValueError(
            f"{key} must be a folder of yours, got {folder}, which belongs to the installed lossbench; name another, "
            f"such as results"
        )
