"""What a run costs, counted rather than timed: operations, memory traffic, steps and evaluations."""

import math
from typing import NamedTuple

from lossbench.config.options import Shape, Sizes
from lossbench.config.run import Config
from lossbench.data.sizes import sizes
from lossbench.models.build import Counts, counted
from lossbench.training.gradient_trace import NUM_BATCHES

BYTES = 4
"""Of a number; activations in bfloat16 are counted as if they were float32."""


def flops(config: Config) -> float:
    """Floating-point operations of a run: training, a test after each epoch, and the last evaluation."""
    known, epochs = sizes(config.dataset), config.schedule.epochs
    counts = _counts(config, known)
    return epochs * (known.num_train * counts.step + known.num_test * counts.forward) + known.num_train * counts.forward


def flops_per_step(config: Config) -> float:
    """Floating-point operations of a full training step."""
    known = sizes(config.dataset)
    return min(config.schedule.batch_size, known.num_train) * _counts(config, known).step


class Work(NamedTuple):
    """What a run has to do.

    Args:
        flops: floating-point operations of convolutions and matrix products, with all evaluations.
        network_bytes: read and written by the network's layers.
        loss_bytes: read and written by the loss and its gradient in the logits.
        update_bytes: read and written by gradient and update of the weights.
        steps: training steps.
        calls: of a layer, in steps and in batches of evaluations; what takes time however small the layer is.
        epochs: epochs.
        spectra: points of a gradient trace with a spectrum.
    """

    flops: float
    network_bytes: float
    loss_bytes: float
    update_bytes: float
    steps: int
    calls: float
    epochs: int
    spectra: int


def work(config: Config, evaluation_batch: int = 100) -> Work:
    """What a run has to do; data sets are not read where their sizes are known without.

    A loss that computes the logits of a few classes only, and says so in `num_columns`, has the output layer's cost of
    these.

    Args:
        config: the run.
        evaluation_batch: samples in a batch of an evaluation.
    """
    known, schedule = sizes(config.dataset), config.schedule
    counts, size = _counts(config, known), min(schedule.batch_size, known.num_train)
    steps_of_epoch = known.num_train // size if schedule.drop_last else math.ceil(known.num_train / size)
    steps = schedule.epochs * steps_of_epoch
    within = steps // schedule.evaluate_every_steps if schedule.evaluate_every_steps else 0
    spectra = schedule.epochs + 1 if config.runtime.gradient_trace else 0
    tested = (schedule.epochs + within) * known.num_test + known.num_train
    tested += ((spectra + within) if spectra else 0) * min(NUM_BATCHES * size, known.num_train)
    trained = work_of_steps(config, steps, schedule.epochs * known.num_train)
    return trained._replace(
        flops=trained.flops + tested * counts.forward,
        network_bytes=trained.network_bytes + BYTES * _IN_A_TEST * counts.outputs * tested,
        loss_bytes=trained.loss_bytes + BYTES * _IN_A_TEST * known.num_classes * tested,
        calls=trained.calls + counts.layers * tested / evaluation_batch,
        epochs=schedule.epochs,
        spectra=spectra,
    )


def work_of_steps(config: Config, steps: int, samples: int) -> Work:
    """What some training steps of a run have to do, on so many samples together, without epochs and evaluations."""
    known = sizes(config.dataset)
    counts, size = _counts(config, known), min(config.schedule.batch_size, known.num_train)
    columns = config.loss.num_columns(known.num_classes, counts.features, size)
    left_out = 1 - min(columns / known.num_classes, 1.0)
    weights = counts.weights - left_out * counts.features * known.num_classes
    return Work(
        flops=samples * (counts.step - 3 * left_out * counts.head),
        network_bytes=BYTES * _IN_A_STEP * counts.outputs * samples,
        loss_bytes=BYTES * _IN_A_LOSS * columns * samples,
        update_bytes=BYTES * _IN_AN_UPDATE * weights * steps,
        steps=steps,
        calls=3 * counts.layers * steps,
        epochs=0,
        spectra=0,
    )


_IN_A_STEP, _IN_A_TEST, _IN_A_LOSS, _IN_AN_UPDATE = 6, 2, 12, 6
"""How often an output of a layer, a logit, and a weight are read or written, about."""

_known: dict[tuple[str, Shape, int], Counts] = {}


def _counts(config: Config, known: Sizes) -> Counts:
    key = repr(config.model), known.shape, known.num_classes
    if key not in _known:
        _known[key] = counted(config.model, known.shape, known.num_classes, config.dataset.gives)
    return _known[key]
