"""What the commands that go over studies are asked for."""

from dataclasses import dataclass, field
from enum import StrEnum

from lossbench.config.options import require
from lossbench.config.run import Runtime
from lossbench.system import shipped
from lossbench.system.files import expanded

SHIPPED = "auto"
"""Stands for the committed records that come with lossbench."""


class Profile(StrEnum):
    """Which grid of runs makes the tables."""

    auto = "auto"  # paper where a GPU is present, else quick
    paper = "paper"  # the paper's protocol
    quick = "quick"  # the same pipeline, reduced, on digits


class Selection(StrEnum):
    """Which epoch's test accuracy a table shows."""

    last = "last"
    best = "best"  # selected on the test set, and labelled so


@dataclass
class Reproduce:
    """What `lossbench reproduce` and `lossbench report` do."""

    profile: Profile = Profile.auto
    tables: list[int] = field(default_factory=lambda: [3, 4, 5])
    seeds: int | None = None  # runs a cell; None: the profile's
    dry: bool = False  # say what would be run, and run nothing
    selection: Selection = Selection.last
    results_dir: str | None = SHIPPED  # committed records; they count as done. None: leave them out
    runtime: Runtime = field(default_factory=Runtime)

    def __post_init__(self) -> None:
        known = bool(self.tables) and all(table in (3, 4, 5) for table in self.tables)
        require(known, "tables", "some of [3,4,5]", self.tables)
        require(self.seeds is None or self.seeds >= 1, "seeds", "null or >= 1", self.seeds)
        if self.results_dir == SHIPPED:
            self.results_dir = str(shipped.RESULTS)
        self.results_dir = self.results_dir and expanded(self.results_dir, "results_dir")
