"""What the report says where the runs' arrays are not here, as an installed lossbench does not carry them."""

from collections.abc import Collection, Iterable

from lossbench.report.blocks import Block, Paragraph
from lossbench.report.wording import enumerated
from lossbench.studies.results import Results
from lossbench.system.shipped import WHERE_ARRAYS_ARE


def all_without(results: Results, used: Collection[str]) -> bool:
    """Whether there are runs, and all of them are records without arrays."""
    return bool(used) and results.without_arrays >= set(used)


def notice(results: Results, used: Collection[str], titles: Iterable[str]) -> list[Block]:
    """A paragraph on what is left out, or rests on few runs; nothing where all runs have arrays.

    Args:
        results: all known runs.
        used: names of the report's runs.
        titles: of the sections that are computed from arrays alone.
    """
    num_bare, num_used = len(results.without_arrays & set(used)), len(set(used))
    if not num_bare:
        return []
    sections = enumerated([f'"{title}"' for title in titles])
    where = (
        f"The arrays of lossbench's own runs are in {WHERE_ARRAYS_ARE}; lossbench report results_dir=CLONE/results "
        "reads them."
    )
    if num_bare < num_used:
        told = f"{num_bare} of the {num_used} runs here are records without arrays; the sections {sections} rest on"
        return [Paragraph(f"{told} the others alone, as do tests on the same images and reliability diagrams. {where}")]
    return [
        Paragraph(
            f"The {num_used} runs here are records without arrays (confusion matrices, predictions, weights, traces). "
            "Their accuracies, curves and comparisons are complete. What is computed from arrays is left out: the "
            f"sections {sections}, the claims on Figure 1, tests on the same images, the evenness of weights, and "
            f"reliability diagrams. {where}"
        )
    ]
