"""The study of losses for many classes."""

from collections.abc import Iterable, Iterator

from lossbench.report.blocks import Section
from lossbench.studies.many_classes import known_posterior, plan
from lossbench.studies.measurements import Measurement
from lossbench.studies.results import Results
from lossbench.studies.study import Known, Planned, Study, register_study


@register_study
class ManyClasses(Study):
    """Approximations of softmax with many classes: what is kept, what is lost, and what it costs."""

    name = "many_classes"
    title = "What do approximations of softmax keep when there are many classes?"
    rules = "docs/many_classes.md"
    place = -5

    def plan(self, known: Known) -> Iterator[Planned]:
        fast, slow = plan.of_words(known.accuracy, known.runtime)
        yield from fast
        yield from known_posterior.blocks(known.accuracy, plan.EXPERIMENT, known.runtime)
        yield from slow

    def measurements(self, known: Known) -> Iterable[Measurement]:
        """Costs of steps, then bias and variance of gradients; about eight minutes on one core."""
        from lossbench.studies.many_classes import gradient_noise, step_costs, step_times

        return [
            step_times.measurement(known.runtime),
            *step_costs.measurements(),
            *gradient_noise.measurements(known.runtime),
        ]

    def summary(self, results: Results) -> Section:
        """The answer in three sentences, a picture, the verdicts, and what would change it."""
        from lossbench.studies.many_classes import summary
        from lossbench.studies.many_classes.evidence import Evidence

        return Section(self.title, summary.blocks(Evidence(results), self.planned(results)))

    def sections(self, results: Results) -> list[Section]:
        """Quality of each method, gradients, and cost by the number of classes."""
        from lossbench.studies.many_classes import sections
        from lossbench.studies.many_classes.evidence import Evidence

        return sections.sections(Evidence(results))
