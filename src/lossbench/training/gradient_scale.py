"""How much harder does one loss pull than another before the first step? The factors of the scale-matched arms."""

import torch

from lossbench.config.run import Config
from lossbench.data.load import batch, plan_epoch
from lossbench.training.fit import process_settings, start_state
from lossbench.training.trace import norm_of

NUM_BATCHES = 100


def mean_gradient_norm(config: Config, num_batches: int = NUM_BATCHES) -> float:
    """Mean over the first batches of a run of the gradient's norm over all weights, none of them moved; on the CPU."""
    with process_settings(config.runtime.num_threads or 1, config.schedule.precision, False):
        state = start_state(config, torch.device("cpu"))
        state.model.train()
        plan, size, norms = plan_epoch(state.data, config.seed, epoch=1), config.schedule.batch_size, []
        parameters = list(state.model.parameters())
        for start in range(0, num_batches * size, size):
            images, target = batch(state.data, plan[:, start : start + size])
            norms.append(norm_of(torch.autograd.grad(state.loss(state.model(images), target), parameters)))
    return torch.stack(norms).mean().item()
