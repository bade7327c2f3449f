"""The cost of a run in floating-point operations."""

from lossbench.config.options import ModelConfig, Shape
from lossbench.config.run import Config
from lossbench.data.sizes import sizes
from lossbench.models.build import flops_per_image


def flops(config: Config) -> float:
    """Floating-point operations of a run: training, a test after each epoch, and the last evaluation."""
    known, epochs = sizes(config.dataset), config.schedule.epochs
    forward, step = _flops_per_image(repr(config.model), known.shape, known.num_classes, config.model)
    return epochs * (known.num_train * step + known.num_test * forward) + known.num_train * forward


def flops_per_step(config: Config) -> float:
    """Floating-point operations of a full training step."""
    known = sizes(config.dataset)
    _, step = _flops_per_image(repr(config.model), known.shape, known.num_classes, config.model)
    return min(config.schedule.batch_size, known.num_train) * step


_known_flops: dict[tuple[str, Shape, int], tuple[float, float]] = {}


def _flops_per_image(name: str, shape: Shape, classes: int, model: ModelConfig) -> tuple[float, float]:
    if (name, shape, classes) not in _known_flops:
        _known_flops[name, shape, classes] = flops_per_image(model, shape, classes)
    return _known_flops[name, shape, classes]
