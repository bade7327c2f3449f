"""The study of the AAAI-20 paper: its tables and claims, and what its conclusions depend on."""

from collections.abc import Iterator

from lossbench.config.run import Config
from lossbench.studies.aaai20 import variants
from lossbench.studies.study import Accuracy, Known, Planned, Study, register_study


@register_study
class Aaai20(Study):
    """LGL, SML and LGL-INR on the paper's networks and data sets."""

    name = "aaai20"
    title = "Logistic and softmax losses: does the paper hold?"
    rules = "docs/statistics.md"
    place = 0
    profiles = ("paper", "quick")

    def plan(self, known: Known) -> Iterator[Planned]:
        return variants.plan(known.has_gpu, known.runtime, known.accuracy, known.is_bf16_faster)

    def read_logits(self, accuracy: Accuracy) -> Iterator[Config]:
        return variants.read_logits(accuracy)
