"""The gradient of the loss in the logits during a run: its norm by p_y, its zeros, and the spectrum of its Hessian."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lossbench.config.registry import LOSSES
from lossbench.config.run import Config
from lossbench.runs.gradient_arrays import COUNTS, NORMS, P_EDGES, SPECTRUM, SPECTRUM_STEPS, STEPS, ZEROS
from lossbench.training.steps import State, autocast
from lossbench.training.trace import has_classes_apart

NUM_BATCHES = 32
"""Batches of training images, of the run's batch size, whose gradient is traced; fewer if there are no more."""

NUM_COUPLED = 2
"""Of these, batches whose Hessian is computed if the loss of a batch is no mean over its samples."""


@dataclass(frozen=True)
class Slopes:
    """A loss's gradient in the logits over batches of training images.

    Args:
        probability: p_y of each image, float64 [N].
        slope: gradient of B times the loss of a batch of B images, float64 [N, K]: for a mean over samples, that of
            each sample's own loss.
        spectrum: eigenvalues of each image's Hessian, likewise of B times the loss, rising, float64 [M, K]; None: not
            computed.
    """

    probability: Tensor
    slope: Tensor
    spectrum: Tensor | None


def slopes(state: State, config: Config, with_spectrum: bool) -> Slopes:
    """Gradient and Hessian in the logits of the first training images, in evaluation mode and not augmented.

    Args:
        state: network, loss and data; the network is left in evaluation mode.
        config: the run's config.
        with_spectrum: whether to compute the Hessians.
    """
    state.model.eval()
    size, labels = config.schedule.batch_size, state.data.train.labels
    num = min(NUM_BATCHES, max(len(labels) // size, 1))
    known = LOSSES[config.loss.name].properties
    coupled = known is None or known.batch_dependent is not False
    p, slope, spectra = [], [], []
    for nth in range(num):
        part = slice(nth * size, (nth + 1) * size)
        target = labels[part]
        with torch.no_grad(), autocast(target.device, state.precision):
            logits = state.model(state.data.inputs(state.data.train.images[part]))
        logits = logits.double().requires_grad_()
        with torch.no_grad():
            p.append(state.as_read(logits).softmax(dim=1).gather(1, target[:, None])[:, 0])
        hessian = with_spectrum and (not coupled or nth < NUM_COUPLED)
        value = state.loss(logits, target) * len(target)
        (found,) = torch.autograd.grad(value, logits, create_graph=hessian)
        slope.append(found.detach())
        if hessian:
            spectra.append(torch.linalg.eigvalsh((_coupled if coupled else _separate)(found, logits)))
    return Slopes(torch.cat(p), torch.cat(slope), torch.cat(spectra) if spectra else None)


def _separate(slope: Tensor, logits: Tensor) -> Tensor:
    """Hessians [B, K, K] of a sum of samples' own losses: row k of all of them by one backward pass."""
    rows = [_derivative(slope[:, k].sum(), logits) for k in range(logits.shape[1])]
    hessian = torch.stack(rows, dim=1)
    return (hessian + hessian.mT) / 2


def _coupled(slope: Tensor, logits: Tensor) -> Tensor:
    """Hessians [B, K, K] of each sample's logits, those of the others held fixed, of a loss that couples samples."""
    rows = [
        torch.stack([_derivative(slope[nth, k], logits)[nth] for k in range(logits.shape[1])])
        for nth in range(len(logits))
    ]
    hessian = torch.stack(rows)
    return (hessian + hessian.mT) / 2


def _derivative(value: Tensor, logits: Tensor) -> Tensor:
    """Gradient [B, K] of a number; zero where it does not depend on the logits, as in a linear part of a loss."""
    if not value.requires_grad:
        return torch.zeros_like(logits)
    (found,) = torch.autograd.grad(value, logits, retain_graph=True, allow_unused=True)
    return torch.zeros_like(logits) if found is None else found


def gradient_trace(state: State, config: Config, step: int, with_spectrum: bool) -> dict[str, Any]:
    """One point of the trace; empty with more than 100 classes, or for a loss of features.

    Args:
        state: network, loss and data.
        config: the run's config.
        step: how many steps the run has done.
        with_spectrum: whether to compute the spectrum of the Hessian too, which takes longer.
    """
    if not has_classes_apart(state):
        return {}
    found = slopes(state, config, with_spectrum)
    bins = torch.bucketize(found.probability, torch.tensor(P_EDGES, dtype=torch.float64, device=found.slope.device))
    num = len(P_EDGES) + 1
    counts = torch.bincount(bins, minlength=num)
    norms = found.slope.norm(dim=1)
    sums = torch.zeros(num, dtype=torch.float64, device=bins.device).index_add_(0, bins, norms)
    zeros = torch.stack([(found.slope == 0).double().mean(), (norms == 0).double().mean()])
    point = {STEPS: torch.tensor(step), COUNTS: counts, NORMS: (sums / counts).float(), ZEROS: zeros.float()}
    if found.spectrum is not None:
        ends = torch.stack([found.spectrum.min(), found.spectrum.max()])
        point[SPECTRUM] = torch.cat([found.spectrum.mean(dim=0), ends]).float()
        point[SPECTRUM_STEPS] = torch.tensor(step)
    return {name: values.cpu() for name, values in point.items()}


def arrays(points: list[dict[str, Tensor]]) -> dict[str, Any]:
    """The trace's arrays by name: T points, S of them with a spectrum; docs/files.md describes them."""
    names = dict.fromkeys(name for point in points for name in point)
    return {name: torch.stack([point[name] for point in points if name in point]).numpy() for name in names}
