"""Losses that are wrong, each in one way, which `lossbench check-loss` must name."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]

WRONG: dict[str, tuple[Loss, str, str]] = {}
"""By name: the loss, the code of its only fault, and words that the verdict's sentence has."""


def wrong(code: str, words: str) -> Callable[[Loss], Loss]:
    def register(loss: Loss) -> Loss:
        WRONG[loss.__name__] = loss, code, words
        return loss

    return register


def own(values: Tensor, target: Tensor) -> Tensor:
    return values.gather(1, target[:, None])[:, 0]


# Sign, labels and pairs


@wrong("sign", "wrong sign")
def sign(logits: Tensor, target: Tensor) -> Tensor:
    return own(logits.log_softmax(dim=1), target).mean()


@wrong("sign", "wrong sign")
def sign_of_brier(logits: Tensor, target: Tensor) -> Tensor:
    return -(logits.softmax(dim=1) - F.one_hot(target, logits.shape[1])).square().sum(dim=1).mean()


@wrong("label_off", "class y + 1 for a sample of class y")
def next_label(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, (target + 1) % logits.shape[1])


@wrong("label_off", "class y + 1 for a sample of class y")
def next_label_clamped(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, (target + 1).clamp_max(logits.shape[1] - 1))


@wrong("label_off", "class y - 1 for a sample of class y")
def previous_label(logits: Tensor, target: Tensor) -> Tensor:
    classes = torch.arange(1, logits.shape[1] + 1)
    return -(logits.log_softmax(dim=1) * (target[:, None] == classes)).sum(dim=1).mean()


@wrong("ignores_class", "ignores the samples of class 0")
def without_class_zero(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, reduction="none").mul(target > 0).mean()


@wrong("label_off", "class y - 1 for a sample of class y")
def previous_label_wrapped(logits: Tensor, target: Tensor) -> Tensor:
    return F.multi_margin_loss(logits, (target - 1) % logits.shape[1])


@wrong("pairs", "pairs every sample with the targets of all samples")
def all_pairs(logits: Tensor, target: Tensor) -> Tensor:
    return -logits.log_softmax(dim=1)[:, target].mean()


@wrong("no_target", "does not depend on the targets")
def entropy(logits: Tensor, target: Tensor) -> Tensor:
    return -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1).mean()


# The batch


@wrong("batch_softmax", "softmax is over the batch axis")
def softmax_over_batch(logits: Tensor, target: Tensor) -> Tensor:
    return -own(logits.log_softmax(dim=0), target).mean()


@wrong("batch_softmax", "softmax is over the batch axis")
def brier_over_batch(logits: Tensor, target: Tensor) -> Tensor:
    return (logits.softmax(dim=0) - F.one_hot(target, logits.shape[1])).square().sum(dim=1).mean()


@wrong("sum_over_batch", "sum over the batch: twice the batch gives twice the loss")
def summed(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, reduction="sum")


@wrong("sum_over_batch", "sum over the batch")
def summed_one_vs_all(logits: Tensor, target: Tensor) -> Tensor:
    targets = F.one_hot(target, logits.shape[1]).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / logits.shape[1]


@wrong("batch_size", "divided by the batch size twice")
def averaged_twice(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target) / len(target)


@wrong("batch_size", "depends on the batch size")
def norm_over_batch(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, reduction="none").norm()


@wrong("ignores_samples", "depends on 1 of the 8 samples alone")
def first_sample(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, reduction="none")[0]


@wrong("not_scalar", "one value for each sample")
def not_reduced(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, reduction="none")


@wrong("not_scalar", "one value for each class")
def mean_over_batch_alone(logits: Tensor, target: Tensor) -> Tensor:
    return (logits.softmax(dim=1) - F.one_hot(target, logits.shape[1])).square().mean(dim=0)


@wrong("order", "order of the samples")
def weights_by_position(logits: Tensor, target: Tensor) -> Tensor:
    weights = torch.linspace(0.5, 1.5, len(target))
    return (weights * F.cross_entropy(logits, target, reduction="none")).mean()


# The graph


@wrong("detached", "returns a float")
def item(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target).item()  # type: ignore[return-value]


@wrong("detached", "the graph is cut by .detach()")
def detached(logits: Tensor, target: Tensor) -> Tensor:
    return -own(logits.log_softmax(dim=1).detach(), target).mean()


@wrong("detached", "the graph is cut by .item()")
def tensor_of_item(logits: Tensor, target: Tensor) -> Tensor:
    return torch.tensor(F.cross_entropy(logits, target).item(), dtype=logits.dtype)


@wrong("detached", "torch.no_grad()")
def without_grad(logits: Tensor, target: Tensor) -> Tensor:
    with torch.no_grad():
        return F.cross_entropy(logits, target)


@wrong("part_detached", "a part is cut from the graph by .detach()")
def part_detached(logits: Tensor, target: Tensor) -> Tensor:
    log_p = own(logits.log_softmax(dim=1), target)
    return -((1 - log_p.exp().detach()) ** 2 * log_p).mean()


@wrong("part_detached", "a part is cut from the graph by torch.no_grad()")
def part_without_grad(logits: Tensor, target: Tensor) -> Tensor:
    with torch.no_grad():
        normaliser = logits.logsumexp(dim=1)
    return (normaliser - own(logits, target)).mean()


@wrong("constant", "does not change with the logits")
def zero_one(logits: Tensor, target: Tensor) -> Tensor:
    return (logits.argmax(dim=1) != target).double().mean()


class Halved(torch.autograd.Function):
    """Cross-entropy with a backward pass that forgets a factor."""

    @staticmethod
    def forward(context, logits: Tensor, target: Tensor) -> Tensor:  # type: ignore[no-untyped-def, override]
        context.save_for_backward(logits.softmax(dim=1) - F.one_hot(target, logits.shape[1]))
        return F.cross_entropy(logits, target)

    @staticmethod
    def backward(context, outer: Tensor):  # type: ignore[no-untyped-def, override]
        return outer * context.saved_tensors[0], None


@wrong("wrong_gradient", "its gradient is not the derivative of its value")
def own_backward(logits: Tensor, target: Tensor) -> Tensor:
    return Halved.apply(logits, target)  # type: ignore[no-any-return]


class Deaf(torch.autograd.Function):
    """Cross-entropy with a backward pass that forgets the outer gradient."""

    @staticmethod
    def forward(context, logits: Tensor, target: Tensor) -> Tensor:  # type: ignore[no-untyped-def, override]
        context.save_for_backward((logits.softmax(dim=1) - F.one_hot(target, logits.shape[1])) / len(target))
        return F.cross_entropy(logits, target)

    @staticmethod
    def backward(context, outer: Tensor):  # type: ignore[no-untyped-def, override]
        return context.saved_tensors[0], None


@wrong("wrong_gradient", "ignores the gradient that it is given")
def deaf_backward(logits: Tensor, target: Tensor) -> Tensor:
    return Deaf.apply(logits, target)  # type: ignore[no-any-return]


# Numbers


@wrong("eps", "value stops at 16.1 = -log 1e-07")
def eps_in_log(logits: Tensor, target: Tensor) -> Tensor:
    return -(own(logits.softmax(dim=1), target) + 1e-7).log().mean()


@wrong("eps", "value stops at 27.6 = -log 1e-12")
def clamped_p(logits: Tensor, target: Tensor) -> Tensor:
    return -own(logits.softmax(dim=1), target).clamp(1e-12, 1).log().mean()


@wrong("eps", "value stops at 9.21 = -log 0.0001")
def coarse_eps(logits: Tensor, target: Tensor) -> Tensor:
    return -(own(logits.softmax(dim=1), target) + 1e-4).log().mean()


@wrong("eps", "value stops at 16.1")
def eps_in_focal(logits: Tensor, target: Tensor) -> Tensor:
    p = own(logits.softmax(dim=1), target)
    return -((1 - p) ** 2 * (p + 1e-7).log()).mean()


@wrong("eps", "value stops at")
def eps_in_one_vs_all(logits: Tensor, target: Tensor) -> Tensor:
    p, targets = logits.sigmoid(), F.one_hot(target, logits.shape[1])
    return -(targets * (p + 1e-8).log() + (1 - targets) * (1 - p + 1e-8).log()).sum(dim=1).mean()


@wrong("overflow", "its gradient is not finite")
def log_of_softmax(logits: Tensor, target: Tensor) -> Tensor:
    return -own(logits.softmax(dim=1).log(), target).mean()


@wrong("overflow", "its value is inf for all logits at 100")
def exp_over_sum(logits: Tensor, target: Tensor) -> Tensor:
    exps = logits.exp()
    return (exps.sum(dim=1).log() - own(logits, target)).mean()


@wrong("overflow", "its gradient is not finite")
def root_at_zero(logits: Tensor, target: Tensor) -> Tensor:
    log_p = own(logits.log_softmax(dim=1), target)
    return -((1 - log_p.exp()) ** 0.5 * log_p).mean()


@wrong("overflow", "its gradient is not finite")
def zero_times_log_zero(logits: Tensor, target: Tensor) -> Tensor:
    p, targets = logits.softmax(dim=1), F.one_hot(target, logits.shape[1])
    return -(targets * p.log()).sum(dim=1).mean()


@wrong("half_overflow", "computes in float16 if its logits are in float16, and overflows")
def squares_in_half(logits: Tensor, target: Tensor) -> Tensor:
    targets = F.one_hot(target, logits.shape[1]).to(logits.dtype)
    return (logits - targets).square().sum(dim=1).mean()


@wrong("half_overflow", "computes in float16 if its logits are in float16, and overflows")
def exp_in_half(logits: Tensor, target: Tensor) -> Tensor:
    if logits.dtype != torch.float16:
        return F.cross_entropy(logits, target)
    return (logits.exp().sum(dim=1).log() - own(logits, target)).mean()


@wrong("in_half", "computes in float16 although its logits are in float32, and overflows: its value is nan for")
def exp_of_half(logits: Tensor, target: Tensor) -> Tensor:
    exps = logits.half().exp()
    return -(own(exps, target) / exps.sum(dim=1)).log().mean()


@wrong("in_half", "computes in float16 although its logits are in float32, and overflows: its value is inf for")
def squares_of_half(logits: Tensor, target: Tensor) -> Tensor:
    half = logits.half()
    return (half - F.one_hot(target, logits.shape[1]).half()).square().sum(dim=1).mean().float()


@wrong("in_half", "computes in bfloat16 although its logits are in float32: its value has about 2 digits")
def in_bfloat16(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits.bfloat16(), target).float()


@wrong("unbounded_below", "falls without end")
def margin_alone(logits: Tensor, target: Tensor) -> Tensor:
    return (logits.mean(dim=1) - own(logits, target)).mean()


# Formulas


@wrong("softmax_twice", "applies softmax twice")
def softmax_twice(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits.softmax(dim=1), target)


@wrong("sigmoid_twice", "applies the sigmoid twice")
def sigmoid_twice(logits: Tensor, target: Tensor) -> Tensor:
    targets = F.one_hot(target, logits.shape[1]).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits.sigmoid(), targets)


@wrong("no_log", "logarithm is missing")
def nll_of_probabilities(logits: Tensor, target: Tensor) -> Tensor:
    return F.nll_loss(logits.softmax(dim=1), target)


@wrong("no_softmax", "softmax is missing")
def nll_of_logits(logits: Tensor, target: Tensor) -> Tensor:
    return F.nll_loss(logits, target)


@wrong("p_log_p", "-p_y log p_y")
def p_log_p(logits: Tensor, target: Tensor) -> Tensor:
    return -own(logits.softmax(dim=1) * logits.log_softmax(dim=1), target).mean()


@wrong("absent_class", "fails for a batch without samples of class 9")
def one_hot_without_classes(logits: Tensor, target: Tensor) -> Tensor:
    return -(F.one_hot(target) * logits.log_softmax(dim=1)).sum(dim=1).mean()


@wrong("prediction", "where the predicted class changes")
def weights_of_prediction(logits: Tensor, target: Tensor) -> Tensor:
    weights = torch.linspace(0.5, 1.5, logits.shape[1], dtype=logits.dtype)
    return (weights[logits.argmax(dim=1)] * F.cross_entropy(logits, target, reduction="none")).mean()


@wrong("prediction", "where the predicted class changes")
def wrong_samples_alone(logits: Tensor, target: Tensor) -> Tensor:
    return ((logits.argmax(dim=1) != target) * F.cross_entropy(logits, target, reduction="none")).mean()


@wrong("changes_logits", "changes the logits")
def in_place(logits: Tensor, target: Tensor) -> Tensor:
    logits -= logits.detach().amax(dim=1, keepdim=True)
    return F.cross_entropy(logits, target)


class Counting(nn.Module):
    """A loss that decays at each call."""

    factor = 1.0

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        self.factor *= 0.99
        return self.factor * F.cross_entropy(logits, target)


WRONG["decaying"] = Counting(), "keeps_state", "two calls"
