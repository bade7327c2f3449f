"""What a study is: runs in order of importance, rules written before them, and sections of the page that follow.

A study is a file or a folder of `lossbench.studies`; a folder registers itself in its `study.py`. Nothing lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeVar

from lossbench.config.registry import Registry
from lossbench.config.run import Config, Runtime

if TYPE_CHECKING:
    from lossbench.report.blocks import Section
    from lossbench.studies.measurements import Measurement
    from lossbench.studies.results import Results

Accuracy = Callable[[Config], float | None]
"""A run's accuracy; None where it is not done, nan where it failed."""

Planned = tuple[str, list[Config]]
"""A block of planned runs: its name, and the runs in their order."""


def _unknown(config: Config) -> float | None:
    return None


@dataclass(frozen=True)
class Known:
    """What a plan may depend on.

    Args:
        has_gpu: whether the runs are done on a GPU.
        runtime: how the runs are to be done.
        accuracy: what earlier runs gave, so that later blocks can follow from them.
        is_bf16_faster: whether this processor trains faster in bf16.
    """

    has_gpu: bool = False
    runtime: Runtime = field(default_factory=Runtime)
    accuracy: Accuracy = _unknown
    is_bf16_faster: bool = True


class Study:
    """A study; the attributes and `plan` are needed, the rest may stay as it is.

    Attributes:
        name: as it is registered; lower-case letters, digits and "_".
        title: what it asks or shows, in a line.
        rules: where its rules are written, such as docs/statistics.md#anchor.
        place: among the studies; smaller ones come first, equals by name.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    rules: ClassVar[str]
    place: ClassVar[int] = 100

    def plan(self, known: Known) -> Iterator[Planned]:
        """The runs to do now in named blocks, in order of importance; a block is made when its turn comes."""
        raise NotImplementedError(f"the study {self.name} has no plan")

    def planned(self, results: Results) -> list[Planned]:
        """All runs that belong to the study, on whatever machine, in named blocks, as the page counts them.

        The plan is made once for the same results.
        """
        if self.name not in results.plans:
            results.plans[self.name] = list(self.plan(Known(has_gpu=True, accuracy=results.accuracy)))
        return results.plans[self.name]

    def measurements(self, known: Known) -> Iterable[Measurement]:
        """What is measured after the runs and is no training run."""
        return ()

    def read_logits(self, accuracy: Accuracy) -> Iterable[Config]:
        """The runs whose logits the sections read; of others no logits are committed."""
        return ()

    def strengths(self, results: Results) -> list[str]:
        """Sentences on where one of the paper's losses is strong or weak; the page's evidence lists them."""
        return []

    def summary(self, results: Results) -> Section | None:
        """What the study says: its answer in sentences, one picture, and what would change it; None: no summary."""
        return None

    def sections(self, results: Results) -> Sequence[Section]:
        """The study's sections of the page."""
        return []


STUDIES: Registry[Study] = Registry("study", "lossbench.studies", inner="study")
"""The studies by name."""

_S = TypeVar("_S", bound=type[Study])


def register_study(study: _S) -> _S:
    """Register a study, a class below `Study`, under its `name`.

    Raises:
        ValueError: it lacks a name, title or rules, or the name is taken.
    """
    for key in ("name", "title", "rules"):
        if not isinstance(getattr(study, key, None), str):
            raise ValueError(f"the study {study.__name__} has no {key}; give it one, a text")
    STUDIES.add(study.name, study(), study)
    return study


def studies() -> list[Study]:
    """The studies in their order."""
    return sorted(STUDIES.values(), key=lambda study: (study.place, study.name))
