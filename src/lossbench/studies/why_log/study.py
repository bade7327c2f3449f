"""The study of why a network is trained on the logarithm of the probability."""

from collections.abc import Iterator

from lossbench.config.run import Config
from lossbench.report.blocks import Section
from lossbench.studies.results import Results
from lossbench.studies.study import Accuracy, Known, Planned, Study, register_study
from lossbench.studies.why_log import plan


@register_study
class WhyLog(Study):
    """Losses of the probability and of its logarithm: from scratch, from wrong networks, with wrong labels."""

    name = "why_log"
    title = "Why the log, and not the squared probability?"
    rules = "docs/why_log.md"
    place = -4

    def plan(self, known: Known) -> Iterator[Planned]:
        return plan.blocks(known.accuracy, known.runtime)

    def read_logits(self, accuracy: Accuracy) -> Iterator[Config]:
        for one in plan.comparisons().values():
            yield from one.with_logits(accuracy, plan.NUM_WITH_LOGITS)

    def sections(self, results: Results) -> list[Section]:
        """A section for each comparison that has a run of its own."""
        from lossbench.studies.comparison_page import folded

        gist = "Rules: docs/why_log.md; paired t with Holm, margin 0.25 points, own learning rates."
        found = [
            folded(f"{self.title} {label}", one, results, f"why_log_{stem}_", gist)
            for (stem, label), one in plan.comparisons().items()
        ]
        return [section for section in found if section is not None]
