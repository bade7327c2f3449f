"""The study of the AAAI-20 paper: its tables and claims, and what its conclusions depend on."""

from collections.abc import Iterator

from lossbench.config.run import Config, Runtime
from lossbench.studies.aaai20 import variants, without_gpu
from lossbench.studies.results import Results
from lossbench.studies.study import Accuracy, Known, Planned, Study, register_study


@register_study
class Aaai20(Study):
    """LGL, SML and LGL-INR on the paper's networks and data sets."""

    name = "aaai20"
    title = "Logistic and softmax losses: does the paper hold?"
    rules = "docs/statistics.md"
    place = 0

    def plan(self, known: Known) -> Iterator[Planned]:
        return variants.plan(known.has_gpu, known.runtime, known.accuracy, known.is_bf16_faster)

    def planned(self, results: Results) -> list[Planned]:
        """The runs for a GPU, and those that stand in for them without one."""
        runtime, accuracy = Runtime(), results.accuracy
        with_gpu = self.plan(Known(has_gpu=True, runtime=runtime, accuracy=accuracy))
        return [*with_gpu, *without_gpu.blocks(runtime, accuracy=accuracy)]

    def read_logits(self, accuracy: Accuracy) -> Iterator[Config]:
        return variants.read_logits(accuracy)
