"""Folders of links to some of the runs, for programs that show all runs below one folder, such as TensorBoard."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from lossbench.runs.folder import Run, runs_dir

EVENTS = "events.out.tfevents."
"""Beginning of the names of TensorBoard's files."""


def has_events(run: Run) -> bool:
    """Whether TensorBoard has something to show of a run."""
    return any(name.startswith(EVENTS) for _, _, names in os.walk(run.folder) for name in names)


def linked(runs: Sequence[Run], output_dir: str | Path) -> Path:
    """A folder with a link to each of the runs, `<output_dir>/tensorboard/<digest of their names>`.

    The same runs have the same folder; it is used again, and no file of a run is copied or changed.

    Args:
        runs: the runs.
        output_dir: where runs/ is.
    """
    digest = hashlib.sha256("\n".join(sorted(run.id for run in runs)).encode()).hexdigest()[:8]
    folder = Path(output_dir) / "tensorboard" / digest
    folder.mkdir(parents=True, exist_ok=True)
    target = os.path.relpath(runs_dir(output_dir), folder)
    for run in runs:
        link = folder / run.id
        if not os.path.lexists(link):
            link.symlink_to(os.path.join(target, run.id), target_is_directory=True)
    return folder
