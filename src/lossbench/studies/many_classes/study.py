"""The study of losses for many classes."""

from collections.abc import Iterator

from lossbench.studies.many_classes import plan
from lossbench.studies.study import Known, Planned, Study, register_study


@register_study
class ManyClasses(Study):
    """Approximations of softmax with many classes: what is kept, what is lost, and what it costs."""

    name = "many_classes"
    title = "What do approximations of softmax keep when there are many classes?"
    rules = "docs/many_classes.md"
    place = -5

    def plan(self, known: Known) -> Iterator[Planned]:
        return plan.blocks(known.accuracy, known.runtime)
