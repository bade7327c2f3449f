"""What losses of a few sampled classes share: proposals, draws, and the logits of single classes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from lossbench.config.options import LossConfig, TrainingClasses, Words, require

if TYPE_CHECKING:
    from torch import Tensor


class Proposal(Words):
    """The distribution q that the sampled classes are drawn from."""

    uniform = "uniform"
    log_uniform = "log_uniform"  # Zipf's: q_k ~ log((k + 2) / (k + 1)), with classes in the order of frequency
    unigram = "unigram"  # class sizes to the power of `loss.power`
    in_batch = "in_batch"  # the classes of the other samples of the batch


NUM_SAMPLED = 100
"""Classes drawn for a batch, unless an option says otherwise."""


@dataclass
class SampledConfig(LossConfig):
    """Options of a loss of the target's and of sampled classes' logits."""

    num_sampled: int = NUM_SAMPLED  # classes drawn for a batch, m; with proposal=in_batch it is the batch size less one
    proposal: Proposal = Proposal.unigram
    power: float = 1.0  # of the class sizes, with proposal=unigram
    replacement: bool | None = None  # None: true; false: m different classes

    needs = "features"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.num_sampled >= 1, "loss.num_sampled", ">= 1", self.num_sampled)
        require(0 <= self.power <= 2, "loss.power", "in [0, 2]", self.power)
        if self.replacement:
            self.replacement = None  # the same runs, so the same names
        valid = self.replacement is None or self.proposal is not Proposal.in_batch
        self._check_unused()
        require(valid, "loss.replacement", "true with loss.proposal=in_batch, which draws no classes", self.replacement)

    def _check_unused(self) -> None:
        """Refuses options that would change a run's name and nothing else."""
        if self.proposal is Proposal.in_batch:
            rule = "left out with loss.proposal=in_batch, which takes the other samples' classes"
            require(self.num_sampled == NUM_SAMPLED, "loss.num_sampled", rule, self.num_sampled)
        if self.proposal is not Proposal.unigram:
            require(self.power == 1, "loss.power", f"left out with loss.proposal={self.proposal}", self.power)

    def check_classes(self, num_classes: int) -> None:
        """Refuses to draw more different classes than there are.

        Raises:
            ValueError: without replacement, m > K.
        """
        valid = self.replacement is None or self.num_sampled <= num_classes
        rule = f"<= {num_classes}, the number of classes, with loss.replacement=false"
        require(valid, "loss.num_sampled", rule, self.num_sampled)

    def num_columns(self, num_classes: int, num_features: int, batch_size: int) -> float:
        """The drawn classes and those of the batch."""
        drawn = 0 if self.proposal is Proposal.in_batch else self.num_sampled
        return min(num_classes, drawn + batch_size)


class Drawn(NamedTuple):
    """The classes drawn for a batch, shared by its samples.

    Args:
        classes: int64 [m].
        log_expected: logarithm of how often each is expected among the draws, float64 [m]: log(m q); without
            replacement that of the probability to be drawn, see `first_to_arrive`.
        own_log_expected: the same of each sample's class, float64 [B].
        is_hit: whether a drawn class is a sample's own, bool [B, m]; with in_batch also the sample's own position.
        is_own_place: with in_batch the sample's own position, bool [B, m]; None: there is none.
    """

    classes: "Tensor"
    log_expected: "Tensor"
    own_log_expected: "Tensor"
    is_hit: "Tensor"
    is_own_place: "Tensor | None"


class Sampler:
    """Draws classes from a proposal; on the device of the class sizes, without waiting for it.

    Args:
        config: number, proposal and power.
        classes: class sizes, and the generator of the draws; None there: PyTorch's own.

    Raises:
        ValueError: more different classes are asked for than there are.
    """

    def __init__(self, config: SampledConfig, classes: TrainingClasses) -> None:
        import torch

        config.check_classes(classes.num_classes)
        self._distinct = config.replacement is False
        self._in_batch, self._num = config.proposal is Proposal.in_batch, config.num_sampled
        self._generator = classes.draws
        counts = classes.counts.double().clamp_min(1)  # a class without samples counts as one
        if config.proposal is Proposal.uniform:
            share = torch.ones_like(counts)
        elif config.proposal is Proposal.log_uniform:
            place = torch.arange(len(counts), dtype=torch.float64, device=counts.device)
            share = torch.log1p(1 / (place + 1))
        else:
            share = counts ** (1.0 if self._in_batch else config.power)
        self.log_q = (share / share.sum()).log()  # float64 [K]
        self._ends = (share / share.sum()).cumsum(dim=0)
        self._ends[-1] = 1.0

    def draw(self, target: "Tensor") -> Drawn:
        """The classes for a batch with the given targets [B]."""
        import math

        import torch

        if self._in_batch:
            own_place = torch.eye(len(target), dtype=torch.bool, device=target.device)
            log_num = math.log(max(len(target) - 1, 1))
            expected = self.log_q[target] + log_num
            return Drawn(target, expected, expected, target[:, None] == target, own_place)
        if self._distinct:
            waits = torch.empty_like(self.log_q).exponential_(generator=self._generator)
            return first_to_arrive(waits * (-self.log_q).exp(), self.log_q, target, self._num)
        points = torch.rand(self._num, dtype=torch.float64, device=target.device, generator=self._generator)
        classes = torch.searchsorted(self._ends, points, right=True).clamp_max(len(self._ends) - 1)
        log_num = math.log(self._num)
        is_hit = target[:, None] == classes
        return Drawn(classes, self.log_q[classes] + log_num, self.log_q[target] + log_num, is_hit, None)


def first_to_arrive(arrivals: "Tensor", log_q: "Tensor", target: "Tensor", num: int) -> Drawn:
    """The m classes that arrive first: a draw without replacement, where each arrives after an exponential time / q.

    A class is among them if it arrives before the m-th of the other classes, at the time t, say. For given arrivals of
    the others this has the probability 1 - exp(-t q), which takes the part that m q has in draws with replacement. For
    a class drawn, t is the (m + 1)-th arrival of all; for one not drawn, the m-th. Source: Cohen and Kaplan,
    "Summarizing data using bottom-k sketches", PODC 2007 (rank conditioning).

    Args:
        arrivals: an exponential variable of mean 1 over q for each class, float64 [K].
        log_q: logarithms of the proposal, float64 [K].
        target: int64 [B].
        num: m, at most K; with m = K each class has the probability 1.
    """
    import torch

    first = arrivals.topk(min(num + 1, len(arrivals)), largest=False)
    classes, last = first.indices[:num], first.values[num - 1]
    next_one = first.values[num] if num < len(arrivals) else torch.full_like(last, torch.inf)
    is_hit = target[:, None] == classes
    own_time = torch.where(is_hit.any(dim=1), next_one, last)

    def log_probability(chosen: "Tensor", time: "Tensor") -> "Tensor":
        return (-torch.expm1(-time * log_q[chosen].exp())).log()

    return Drawn(classes, log_probability(classes, next_one), log_probability(target, own_time), is_hit, None)


class Logits(NamedTuple):
    """Logits of single classes: each sample's own [B], and the drawn ones' [B, m]."""

    own: "Tensor"
    others: "Tensor"


def logits_of(features: "Tensor", head: Any, target: "Tensor", classes: "Tensor") -> Logits:
    """The logits of each sample's class and of some classes, without those of all classes.

    The gradient of the weights is sparse on a CPU: it has the rows of these classes alone.

    Args:
        features: [B, F].
        head: the output layer, with weight [K, F] and bias [K] or None.
        target: int64 [B].
        classes: int64 [m].
    """
    import torch
    import torch.nn.functional as F

    chosen = torch.cat([target, classes])
    rows = F.embedding(chosen, head.weight, sparse=not features.is_cuda)  # [B + m, F]
    size = len(target)
    own = (features * rows[:size]).sum(dim=1)
    others = features @ rows[size:].T
    if head.bias is not None:
        biases = head.bias[chosen]
        own, others = own + biases[:size], others + biases[size:]
    return Logits(own, others)
