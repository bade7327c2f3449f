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

    def summary(self, results: Results) -> Section:
        from lossbench.studies.why_log.summary import summary

        return summary(results, self.title, self.planned(results))

    def sections(self, results: Results) -> list[Section]:
        """Formulas; then a section for each kind of wrong start and for each comparison, where there are runs."""
        from lossbench.studies.comparison_page import folded
        from lossbench.studies.why_log.closed_form import algebra_blocks, closed_form_blocks
        from lossbench.studies.why_log.wrong_start import WrongStart
        from lossbench.studies.why_log.wrong_start_page import wrong_start_blocks

        seeds = f"n={len(plan.RIGHTING_SEEDS)}"
        common = wrong_start_blocks(WrongStart(results))
        own = wrong_start_blocks(WrongStart(results, own_start=True))
        at_start = f"Rules: docs/why_log.md; steps to 80 and 90 % from a confidently wrong network, {seeds}."
        at_own = f"The same where each loss fits its own wrong network; description, {seeds}."
        gist = "Rules: docs/why_log.md; paired t with Holm, margin 0.25 points, own learning rates."
        found = [
            Section(
                f"{self.title} In formulas",
                [*closed_form_blocks(), *algebra_blocks()],
                "Why the log: formulas",
                "Value, gradient and curvature in closed form, and where the answers' own algebra errs.",
            ),
            Section(f"{self.title} The same wrong start", common, "Why the log: same start", at_start)
            if common
            else None,
            Section(f"{self.title} Each loss's own wrong start", own, "Why the log: own start", at_own)
            if own
            else None,
            *(
                folded(f"{self.title} {label}", one, results, f"why_log_{stem}_", gist)
                for (stem, label), one in plan.comparisons().items()
            ),
        ]
        return [section for section in found if section is not None]
