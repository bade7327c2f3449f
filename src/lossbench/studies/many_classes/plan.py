"""The runs: full and approximate losses of 9,580 words, each at its own learning rate."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lossbench.config.naming import frozen
from lossbench.config.options import LossConfig
from lossbench.config.run import Config, Optimizer, Runtime, Schedule
from lossbench.data.words import Words
from lossbench.losses.adaptive_softmax import AdaptiveSoftmax
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.nce import Nce
from lossbench.losses.rg2_features import Rg2Features
from lossbench.losses.sampled_lgl import SampledLgl
from lossbench.losses.sampled_softmax import Correction, Hits, SampledSoftmax
from lossbench.losses.sampling import Proposal
from lossbench.losses.sml import Sml
from lossbench.losses.sparsemax import Sparsemax
from lossbench.models.word2next import Word2Next
from lossbench.studies.comparison import Comparison, Rules
from lossbench.studies.learning_rates import Rates
from lossbench.studies.study import Accuracy, Planned

EXPERIMENT = "many_classes"

BASELINE = "SML"

EPOCHS = 3

STEPS_BETWEEN_TESTS = 291
"""A fifth of an epoch of 744,502 positions in batches of 512."""

SCHEDULE = Schedule(epochs=EPOCHS, batch_size=512, lr=0.1, momentum=0.0, optimizer=Optimizer.adagrad)

LONG = 12
"""Epochs of the sampled softmax that is compared at about the cost of one epoch of the full one."""

SIZES = (20, 100, 500)
"""Numbers of sampled classes, m."""

RATES = Rates(grid=(0.03, 0.1, 0.3), below=(0.01, 0.003), above=(1.0, 3.0), most_extensions=2)

ACCURACY_MARGIN = 0.0025
"""Of equivalence, a fraction."""

NLL_MARGIN = 0.05
"""Of equivalence, in nats."""


@dataclass(frozen=True)
class Method:
    """A way to train a network with many classes.

    Args:
        label: as tables write it.
        kind: "full", "sampled softmax", "binary" (questions about single classes) or "hierarchy".
        loss: its loss.
        num_sampled: classes drawn for a batch, m; None: none are, or the others of the batch.
        prior_bias: whether the output biases begin at the class shares.
        epochs: of its runs.
        every: steps between tests within an epoch; None: none.
        is_slow: whether its runs come last, since they take many minutes each.
    """

    label: str
    kind: str
    loss: LossConfig
    num_sampled: int | None = None
    prior_bias: bool = True
    epochs: int = EPOCHS
    every: int | None = None
    is_slow: bool = False

    def config(self) -> Config:
        """Its reported run with seed 0 at the schedule's learning rate."""
        schedule = replace(SCHEDULE, epochs=self.epochs, evaluate_every_steps=self.every)
        return Config(Words(), Word2Next(prior_bias=self.prior_bias), self.loss, schedule)


def _softmax(words: str, num: int = 100, **options: Any) -> Method:
    in_batch = options.get("proposal") is Proposal.in_batch
    label = f"Sampled softmax{f', {words}' if words else f', m={num}'}"
    return Method(label, "sampled softmax", SampledSoftmax(num_sampled=num, **options), None if in_batch else num)


METHODS: tuple[Method, ...] = (
    Method(BASELINE, "full", Sml(), every=STEPS_BETWEEN_TESTS),
    *(_softmax("", num) for num in SIZES),
    _softmax("hits masked", hits=Hits.mask),
    _softmax("target uncorrected, hits masked", correction=Correction.sampled, hits=Hits.mask),
    _softmax("uncorrected", correction=Correction.none),
    _softmax("uniform", proposal=Proposal.uniform),
    _softmax("log-uniform", proposal=Proposal.log_uniform),
    _softmax("unigram^0.75", power=0.75),
    _softmax("in-batch", proposal=Proposal.in_batch),
    _softmax("in-batch, uncorrected", proposal=Proposal.in_batch, correction=Correction.none),
    *(Method(f"NCE, m={num}", "binary", Nce(num_sampled=num), num) for num in SIZES),
    Method("NCE, m=100, no prior biases", "binary", Nce(), 100, prior_bias=False),
    Method("Negative sampling", "binary", Nce(correction=False), 100),
    *(Method(f"Sampled LGL, m={num}", "binary", SampledLgl(num_sampled=num), num) for num in SIZES),
    Method("Adaptive softmax", "hierarchy", AdaptiveSoftmax()),
    Method(f"Sampled softmax, m=100, {LONG} epochs", "sampled softmax", SampledSoftmax(), 100, epochs=LONG),
    Method("RG2", "full", Rg2Features()),
    Method("LGL", "full", Lgl(), is_slow=True),
    Method("LGL-INR", "full", LglInr(), is_slow=True),
    Method("Sparsemax", "full", Sparsemax(), is_slow=True),
)
"""All methods, in the order of tables."""

OTHER_MAPS = (
    "LGL, LGL-INR, sampled LGL, negative sampling, RG2 and sparsemax have other maps, so their NLL is no score of "
    "their own probabilities."
)
"""What captions say of the NLL of the softmax of all logits."""

TWINS = {
    "Sampled softmax, uncorrected": "Sampled softmax, m=100",
    "Sampled softmax, in-batch, uncorrected": "Sampled softmax, in-batch",
    "Negative sampling": "NCE, m=100",
}
"""Methods whose minimiser has another order than the posterior, and the method that differs in its correction alone."""


LONG_LABEL = f"Sampled softmax, m=100, {LONG} epochs"

SAMPLED_LABEL = "Sampled softmax, m=100"

UNCORRECTED_TARGET_LABEL = "Sampled softmax, target uncorrected, hits masked"

APPROXIMATIONS = ("sampled softmax", "hierarchy")
"""Kinds of approximations of SML; NCE is one as well."""


def approximates(one: Method) -> bool:
    """Whether a method is an approximation of SML, at as many steps."""
    is_nce = isinstance(one.loss, Nce) and one.loss.correction
    return one.epochs == EPOCHS and (one.kind in APPROXIMATIONS or is_nce)


def is_estimate(one: Method) -> bool:
    """Whether a method's gradient is measured as an estimate of that of all classes, and its runs are compared."""
    if one.num_sampled is None or one.epochs != EPOCHS or not one.prior_bias:
        return False
    return not isinstance(one.loss, Nce) or one.loss.correction


def key_of(loss: LossConfig) -> str:
    """What a loss with its options is, as a text."""
    return frozen(asdict(loss))


def method(label: str) -> Method:
    """The method with a label."""
    return next(one for one in METHODS if one.label == label)


def comparison(methods: Sequence[Method] = METHODS) -> Comparison:
    """Methods at their own learning rates, SML of all classes as the baseline, which must be among them."""
    rules = Rules(
        *(BASELINE, ACCURACY_MARGIN),
        rates=RATES,
        selection_seeds=(1000,),
        has_common=False,
        selection_epochs=1,
    )
    return Comparison({one.label: one.config() for one in methods}, rules)


def of_words(accuracy: Accuracy, runtime: Runtime) -> tuple[Iterator[Planned], Iterator[Planned]]:
    """The runs on words in named blocks, those of slow methods apart."""

    def blocks(which: str, methods: Sequence[Method]) -> Iterator[Planned]:
        for name, configs in comparison(methods).plan(accuracy, EXPERIMENT, runtime):
            yield f"many classes, words, {which}{name}", configs

    fast = [one for one in METHODS if not one.is_slow]
    slow = [one for one in METHODS if one.is_slow or one.label == BASELINE]
    return blocks("", fast), blocks("slow methods, ", slow)
