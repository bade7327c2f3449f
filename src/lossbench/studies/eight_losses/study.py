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

NUM_SHARED = 3
"""Of the losses, those that the paper's study trains on Fashion-MNIST too: the first."""

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
    place = -1

    def plan(self, known: Known) -> Iterator[Planned]:
        for name, configs in comparison().plan(known.accuracy, self.name, known.runtime):
            yield f"eight losses, {name}", configs

    def sections(self, results: Results) -> list[Section]:
        """The comparison in one folded section of the page, once a run of a loss that no other study has is there."""
        from lossbench.studies import comparison_page
        from lossbench.studies.compared import Compared

        one = comparison()
        alone = list(one.losses)[NUM_SHARED:]
        if all(results.accuracy(one.selecting(label, lr)[0]) is None for label in alone for lr in one.rules.rates.grid):
            return []
        done = Compared(one, results)
        parts = comparison_page.sections(done, stem=STEM)
        blocks = [*comparison_page.first_screen(done, stem=STEM), *(block for part in parts for block in part.blocks)]
        gist = "Rules: paired t with Holm over seven losses, margin 0.25 points, own learning rates, n=5."
        return [Section(self.title, blocks, short="Eight losses", gist=gist)]

    def read_logits(self, accuracy: Accuracy) -> Iterator[Config]:
        """Some reported runs at a loss's own learning rate, and the selection seed's run at that rate."""
        one = comparison()
        for label in one.losses:
            own = one.own_lr(label, accuracy)
            if own is not None:
                yield from one.at(label, own.lr).configs[:NUM_WITH_LOGITS]
                yield one.selecting(label, own.lr)[0]
