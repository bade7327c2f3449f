"""Limits of the hardware, and alternating measurements, so that changes of the machine affect all variants alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn

from lossbench.config.run import Config
from lossbench.data.sizes import sizes
from lossbench.models.build import build_model, count_parameters, flops_per_image


@dataclass(frozen=True)
class Spread:
    """Repeated measurements, shown as median, minimum and maximum."""

    values: tuple[float, ...]

    def __str__(self) -> str:
        low, middle, high = (f"{value:.3g}" for value in (min(self.values), self.median, max(self.values)))
        return f"{middle} ({low}-{high})"

    @property
    def median(self) -> float:
        return median(self.values)

    def over(self, other: "Spread") -> "Spread":
        """Ratios to another variant, repetition by repetition."""
        return Spread(tuple(mine / its for mine, its in zip(self.values, other.values, strict=True)))


def alternate(variants: Mapping[str, Callable[[], float]], repetitions: int) -> dict[str, Spread]:
    """Measure all variants in turn, `repetitions` times after one warm-up round."""
    found: dict[str, list[float]] = {name: [] for name in variants}
    for repetition in range(repetitions + 1):
        for name, measure in variants.items():
            value = measure()
            if repetition:
                found[name].append(value)
    return {name: Spread(tuple(values)) for name, values in found.items()}


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of some work, including what it starts on the device, in s."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    began = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - began


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Best rate of a square matrix product, FLOP/s, with the present number of threads and precision."""
    sizes = (2048, 4096, 8192) if device.type == "cuda" else (512, 1024, 2048)
    rates = []
    for size in sizes:
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        times = [seconds(lambda a=a, b=b: a @ b, device) for _ in range(8)]  # type: ignore[misc]
        rates.append(2 * size**3 / min(times[2:]))
    return max(rates)


def copy_rate(device: torch.device) -> float:
    """Best rate of a copy between large tensors, bytes/s, counting bytes read and written."""
    source = torch.zeros(2**26, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / min(seconds(lambda: target.copy_(source), device) for _ in range(8))


@dataclass(frozen=True)
class Cost:
    """Minimum work of a training step."""

    flops: float
    bytes: float


def cost_of_step(config: Config) -> Cost:
    """FLOPs of a training step's matrix products, and bytes moved by its memory-bound operations.

    FLOPs: direct convolution, without the gradient of the images. Bytes, float32: what normalisation, activation and
    pooling read and write, once forward and twice backward, and five passes of the update over the weights.
    """
    shape = sizes(config.dataset).shape
    size = config.schedule.batch_size
    model = build_model(config.model, shape, 10, seed=0).eval()
    moved: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        if not list(layer.children()) and not isinstance(layer, (nn.Conv2d, nn.Linear, nn.Flatten, nn.Identity)):
            moved.append(inputs[0].numel() + output.numel())

    for layer in model.modules():
        layer.register_forward_hook(count)
    with torch.no_grad():
        model(torch.zeros(1, *shape))
    _, step = flops_per_image(config.model, shape, 10)
    return Cost(size * step, 4 * (3 * size * sum(moved) + 5 * count_parameters(model)))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
