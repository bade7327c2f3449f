"""Times of CNN5C's convolutions on a CPU, and alternatives for the last one's weight gradient.

`python benchmarks/convolutions.py [--threads 1] [--repetitions 9]`. The last convolution (256 to 512 channels, 10 x 10
pixels) is followed by a maximum over its entire 8 x 8 map, so only one pixel in 64 of its output has a gradient.
"""

import argparse
from collections.abc import Callable

import torch
from measure import Spread, alternate, seconds, table
from torch import Tensor

from lossbench.system.machine import device_name, keep_freed_memory, versions

BATCH = 64
LAYERS = ((1, 32, 28, 1), (32, 64, 28, 0), (64, 128, 26, 0), (128, 256, 12, 0), (256, 512, 10, 0))
"""Channels in and out, side length and padding of CNN5C's convolutions."""

Passes = dict[str, Callable[[], object]]


def passes(layer: tuple[int, int, int, int], precision: torch.dtype) -> Passes:
    """Forward pass and both gradients of a convolution, as in a training step."""
    x, w, padding = _operands(layer, precision)
    gradient = torch.randn_like(torch.conv2d(x, w, padding=padding))

    def backward(mask: list[bool]) -> object:
        return torch.ops.aten.convolution_backward(
            gradient, x, w, None, [1, 1], [padding] * 2, [1, 1], False, [0, 0], 1, mask
        )

    return {
        "forward": lambda: torch.conv2d(x, w, padding=padding),
        "input gradient": lambda: backward([True, False, False]),
        "weight gradient": lambda: backward([False, True, False]),
    }


def last_weight_gradients(precision: torch.dtype) -> Passes:
    """The last convolution's weight gradient: oneDNN's, as a matrix product, and as a sparse product (fp32)."""
    x, w, _ = _operands(LAYERS[-1], precision)
    y = torch.conv2d(x, w)
    num, channels, side = y.shape[0], y.shape[1], y.shape[2]
    place = y.flatten(2).argmax(dim=2)  # [B, 512]
    values = torch.randn(num, channels).to(precision)
    gradient = torch.zeros(num, channels, side * side, dtype=precision).scatter_(2, place[..., None], values[..., None])
    gradient = gradient.view_as(y).contiguous(memory_format=torch.channels_last)
    last = x.permute(0, 2, 3, 1)

    def patches() -> Tensor:
        strides = (last.stride(0), last.stride(1), last.stride(2), last.stride(1), 1)
        return last.as_strided((num, side, side, 3, 3 * x.shape[1]), strides).reshape(num * side * side, -1)

    def product() -> Tensor:
        return gradient.permute(1, 0, 2, 3).reshape(channels, -1) @ patches()

    rows = torch.arange(0, channels * num + 1, num)
    columns = (torch.arange(num)[:, None] * side * side + place).t().reshape(-1)

    def sparse() -> Tensor:
        left = torch.sparse_csr_tensor(rows, columns, values.t().reshape(-1), (channels, num * side * side))
        found: Tensor = left @ patches()
        return found

    def onednn() -> Tensor:
        found = torch.ops.aten.convolution_backward(
            gradient, x, w, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [False, True, False]
        )[1]
        return found.permute(0, 2, 3, 1).reshape(channels, -1)

    ways: dict[str, Callable[[], Tensor]] = {"oneDNN": onednn, "one matrix product": product}
    if precision is torch.float32:
        ways["sparse product"] = sparse
    expected = onednn().float()
    for name, way in ways.items():
        off = (way().float() - expected).norm() / expected.norm()
        assert off < (1e-5 if precision is torch.float32 else 1e-2), f"{name} gives another gradient: {off:.1e}"
    return dict(ways)


def _operands(layer: tuple[int, int, int, int], precision: torch.dtype) -> tuple[Tensor, Tensor, int]:
    channels_in, channels_out, side, padding = layer
    x, w = torch.randn(BATCH, channels_in, side, side), torch.randn(channels_out, channels_in, 3, 3)
    x, w = (one.to(precision).to(memory_format=torch.channels_last) for one in (x, w))
    return x, w, padding


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=9)
    given = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    print(f"{device_name(torch.device('cpu'))}, {given.threads} threads, torch {versions()['torch']}, ms a pass\n")
    rows = []
    for precision in (torch.float32, torch.bfloat16):
        for layer in LAYERS:
            known = _timed(passes(layer, precision), given.repetitions)
            rows.append([str(precision).removeprefix("torch."), f"{layer[0]} to {layer[1]}", *known.values()])
    print(table(["precision", "channels", "forward", "input gradient", "weight gradient"], rows))
    rows = []
    for precision in (torch.float32, torch.bfloat16):
        for name, time in _timed(last_weight_gradients(precision), given.repetitions).items():
            rows.append([str(precision).removeprefix("torch."), name, time])
    print(table(["precision", "last weight gradient", "ms"], rows))


def _timed(ways: Passes, repetitions: int) -> dict[str, Spread]:
    """Times of all ways in ms, measured alternately."""
    cpu = torch.device("cpu")
    return alternate({name: lambda way=way: 1e3 * seconds(way, cpu) for name, way in ways.items()}, repetitions)


if __name__ == "__main__":
    main()
