"""Gradient norms of losses at initialisation, from which the factors of scale-matched conditions are computed."""

import torch

from lossbench.config.run import Config
from lossbench.data.load import batch, plan_epoch
from lossbench.training.fit import process_settings, start_state
from lossbench.training.trace import norm_of

NUM_BATCHES = 100


def mean_gradient_norm(config: Config, num_batches: int = NUM_BATCHES) -> float:
    """Norm of the loss gradient over all weights at the initial weights, averaged over a run's first batches.

    Computed on the CPU.
    """
    with process_settings(config.runtime.num_threads or 1, config.schedule.precision, False):
        state = start_state(config, torch.device("cpu"))
        state.model.train()
        plan, size, norms = plan_epoch(state.data, config.seed, epoch=1), config.schedule.batch_size, []
        parameters = list(state.model.parameters())
        for start in range(0, num_batches * size, size):
            images, target = batch(state.data, plan[:, start : start + size])
            norms.append(norm_of(torch.autograd.grad(state.loss(state.model(images), target), parameters)))
    return torch.stack(norms).mean().item()
