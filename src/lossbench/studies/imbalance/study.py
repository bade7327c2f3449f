"""The study of class weights on imbalanced data."""

from collections.abc import Iterator

from lossbench.config.run import Config
from lossbench.report.blocks import Section
from lossbench.studies.imbalance import plan
from lossbench.studies.results import Results
from lossbench.studies.study import Accuracy, Known, Planned, Study, register_study


@register_study
class ImbalanceStudy(Study):
    """SML and LGL with class weights, and LGL-INR, on Fashion-MNIST with rare classes."""

    name = "imbalance"
    title = "Class weights on imbalanced data (Eq. 9 and 10)"
    rules = "docs/statistics.md#later-changes"
    place = 1

    def plan(self, known: Known) -> Iterator[Planned]:
        return plan.blocks(known.runtime)

    def read_logits(self, accuracy: Accuracy) -> Iterator[Config]:
        return plan.read_logits()

    def strengths(self, results: Results) -> list[str]:
        from lossbench.studies.imbalance.sections import beside_weighted_sml

        return [text for text in [beside_weighted_sml(results)] if text]

    def sections(self, results: Results) -> list[Section]:
        from lossbench.studies.imbalance.sections import imbalance

        gist = "Rules: Eq. 10 within a factor of 1.25, and what inverse weights do; Fashion-MNIST, n=3."
        return [Section(self.title, imbalance(results), short="Imbalanced data", gist=gist, by_arrays=True)]
