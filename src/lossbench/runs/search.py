"""Runs found by their names, or the beginnings of names, without reading the others."""

from collections.abc import Sequence
from pathlib import Path

from lossbench.runs.folder import all_runs
from lossbench.runs.inspect import Entry, entries, find, known, name_in


def search(names: Sequence[str], output_dir: str | Path, results_dir: str | Path | None = None) -> list[Entry]:
    """The runs of some names; as `find`, for each.

    Args:
        names: each the name of a run, the beginning of one, or the path of its folder.
        output_dir: where runs/ is.
        results_dir: the folder of committed records; None: without them.

    Raises:
        ValueError: there is none of a name, or more than one.
    """
    wanted = tuple(map(name_in, names))
    own = {run.id for run in all_runs(output_dir) if run.id.startswith(wanted)}
    among, _ = known(output_dir, results_dir, own)
    if not all(any(entry.id.startswith(one) for entry in among) for one in wanted):
        among = entries(output_dir, results_dir)  # for a message that names what is near
    return [find(name, among) for name in names]
