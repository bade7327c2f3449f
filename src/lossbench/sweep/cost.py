"""The cost of a run in floating-point operations."""

from lossbench.config.options import Shape, Sizes
from lossbench.config.run import Config
from lossbench.data.sizes import sizes
from lossbench.models.build import flops_per_image


def flops(config: Config) -> float:
    """Floating-point operations of a run: training, a test after each epoch, and the last evaluation."""
    known, epochs = sizes(config.dataset), config.schedule.epochs
    forward, step = _flops_per_image(config, known)
    return epochs * (known.num_train * step + known.num_test * forward) + known.num_train * forward


def flops_per_step(config: Config) -> float:
    """Floating-point operations of a full training step."""
    known = sizes(config.dataset)
    _, step = _flops_per_image(config, known)
    return min(config.schedule.batch_size, known.num_train) * step


_known_flops: dict[tuple[str, Shape, int], tuple[float, float]] = {}


def _flops_per_image(config: Config, known: Sizes) -> tuple[float, float]:
    key = repr(config.model), known.shape, known.num_classes
    if key not in _known_flops:
        gives = config.dataset.gives
        _known_flops[key] = flops_per_image(config.model, known.shape, known.num_classes, gives)
    return _known_flops[key]
