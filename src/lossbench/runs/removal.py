"""Removal of run folders, for `lossbench remove`."""

from collections.abc import Iterable

from lossbench.runs.folder import Run, Status
from lossbench.runs.inspect import DAMAGED, Entry


def may_go(entry: Entry, status_named: bool) -> bool:
    """Whether a run may be removed without being named itself: failed and superseded ones, others by their status.

    A running one and a finished one whose numbers are current never are.
    """
    if entry.run is None or entry.status == Status.running:
        return False
    return entry.superseded or entry.status == Status.failed or (status_named and entry.status != Status.finished)


def remove(chosen: Iterable[Entry]) -> tuple[list[str], dict[str, str]]:
    """Remove own runs; returns the names of those that are gone, and why others are not."""
    gone, kept = [], {}
    for entry in chosen:
        assert entry.run is not None
        with entry.run.held(wait=True) as free:
            if not free:
                kept[entry.id] = "it is running"
            elif _changed(entry, entry.run):
                kept[entry.id] = "it has changed meanwhile"
            else:
                try:
                    entry.run.remove()
                except ValueError as error:
                    kept[entry.id] = str(error)
                else:
                    gone.append(entry.id)
    return gone, kept


def _changed(entry: Entry, run: Run) -> bool:
    if entry.status in (Status.finished, DAMAGED):
        return not run.finished
    return run.finished or run.failure() != entry.reason
