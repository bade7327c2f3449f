"""Diagnostics by epoch: those that a loss provides and, on request, class means and gradient norms."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor

from lossbench.config.registry import LOSSES
from lossbench.config.run import Config
from lossbench.training import metrics
from lossbench.training.evaluate import has_few_classes
from lossbench.training.steps import State

PROBE_PER_CLASS = 2  # images of each class whose gradient is measured

NORMS, MEANS = "gradient_norms", "test_mean_{}_by_epoch"


def norm_of(gradients: Iterable[Tensor]) -> Tensor:
    """Euclidean norm of a gradient given by its parts, computed in float64; a scalar."""
    return torch.stack([gradient.double().square().sum() for gradient in gradients]).sum().sqrt()


def has_classes_apart(state: State) -> bool:
    """Whether the gradient can be split by class: few classes, and a loss computed from logits."""
    return has_few_classes(state) and not state.by_features


def gradient_norms(state: State) -> Tensor:
    """Norm of each class's part of the loss gradient, float64 [K].

    The gradient with respect to the parameters is a sum over samples. It is computed for one batch of the first few
    training images of each class, in training mode, on a copy of the network.
    """
    labels, num_classes = state.data.train.labels, state.data.num_classes
    probe = torch.cat([torch.nonzero(labels == label)[:PROBE_PER_CLASS, 0] for label in range(num_classes)])
    model, target = copy.deepcopy(state.model).train(), labels[probe]
    logits = model(state.data.inputs(state.data.train.images[probe]))
    (slope,) = torch.autograd.grad(state.loss(logits, target), logits, retain_graph=True)
    norms = []
    for label in range(num_classes):
        own = (logits * slope * (target == label)[:, None]).sum()  # its gradient is the class's part of the gradient
        norms.append(norm_of(torch.autograd.grad(own, list(model.parameters()), retain_graph=True)))
    return torch.stack(norms)


def trace(config: Config, state: State, logits: Tensor | None, by_class: bool) -> dict[str, Tensor]:
    """Diagnostics of an epoch by name of their array; none with many classes.

    Args:
        config: the run's config.
        state: the state after the epoch.
        logits: of the test images, [N, K]; None: there are many classes.
        by_class: whether to add class means and gradient norms to the diagnostics that the loss provides.
    """
    found: dict[str, Tensor] = {}
    if logits is None:
        return found
    target = state.data.test.labels
    probabilities = LOSSES[config.loss.name].probabilities
    p = torch.sigmoid(logits) if probabilities == "sigmoid" else torch.softmax(logits, dim=1)
    means = metrics.class_means(p, target)
    found |= config.loss.trace(means.nan_to_num(0.0), ~means.isnan().any(dim=1))
    if by_class:
        for name, means in metrics.mean_probabilities(logits, target).items():
            found[MEANS.format(name)] = means.float()
        if has_classes_apart(state):
            found[NORMS] = gradient_norms(state)
    return {name: values.cpu() for name, values in found.items()}
