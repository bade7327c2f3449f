"""The comparison of eight losses on Fashion-MNIST, as `lossbench compare` makes it."""

from collections.abc import Iterator

from lossbench.config.options import LossConfig
from lossbench.config.registry import LABELS
from lossbench.config.run import Config, Schedule
from lossbench.data.mnist_type import MnistType
from lossbench.losses.brier import Brier
from lossbench.losses.entmax import Entmax
from lossbench.losses.focal import Focal
from lossbench.losses.label_smoothing import LabelSmoothing
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.losses.squared import Squared
from lossbench.models.cnn2c import Cnn2c
from lossbench.report.blocks import Section
from lossbench.studies.comparison import Comparison, Rules
from lossbench.studies.results import Results
from lossbench.studies.study import Accuracy, Known, Planned, Study, register_study

LOSSES: tuple[LossConfig, ...] = (
    *(Sml(), Lgl(), LglInr()),
    *(Squared(), Entmax(), Brier(), Focal(), LabelSmoothing()),
)

MARGIN = 0.0025
"""Of equivalence, a fraction: that of all studies on Fashion-MNIST."""

STEM = "eight_losses_"
"""Beginning of the names of its pictures."""

NUM_WITH_LOGITS = 3
"""Reported runs of each loss whose logits are committed."""


def comparison() -> Comparison:
    """The comparison: the paper's network and schedule, SML as the baseline."""
    losses = {LABELS[loss.name]: Config(MnistType("fmnist"), Cnn2c(), loss, Schedule()) for loss in LOSSES}
    return Comparison(losses, Rules(LABELS["sml"], MARGIN))


@register_study
class EightLosses(Study):
    """Eight losses on Fashion-MNIST with CNN2C."""

    name = "eight_losses"
    title = "Eight losses on Fashion-MNIST, each at its own learning rate"
    rules = "docs/comparisons.md#eight-losses-on-fashion-mnist"
    place = -3

    def plan(self, known: Known) -> Iterator[Planned]:
        for name, configs in comparison().plan(known.accuracy, self.name, known.runtime):
            yield f"eight losses, {name}", configs

    def sections(self, results: Results) -> list[Section]:
        """The comparison in one folded section of the page."""
        from lossbench.studies.comparison_page import folded

        gist = "Rules: paired t with Holm over seven losses, margin 0.25 points, own learning rates, n=5."
        found = folded(self.title, comparison(), results, STEM, gist)
        return [] if found is None else [found]

    def read_logits(self, accuracy: Accuracy) -> Iterator[Config]:
        """Some reported runs at a loss's own learning rate, and the selection seed's run at that rate."""
        yield from comparison().with_logits(accuracy, NUM_WITH_LOGITS)
