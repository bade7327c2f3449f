"""Rates of processors and GPUs, from which the time of a run is estimated before any of its kind was measured.

The numbers of the GPUs are those of their maker's data sheets, dense and without sparsity; nothing here was measured on
a GPU. Those of a processor core were fitted to the runs in `results/`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lossbench.config.run import Precision


@dataclass(frozen=True)
class Machine:
    """What a processor core or a GPU does in a second, and its power.

    Args:
        name: for tables.
        kind: "cpu" or "cuda", as in a record's `device`.
        flops: floating-point operations a second by precision, as far as convolutions and products reach them.
        network_rate: bytes a second that the network's layers read and write.
        loss_rate: likewise of the loss.
        update_rate: likewise of the update of the weights.
        step_s: what a step takes beside that, in s.
        call_s: what a call of a layer takes however small it is, in s.
        epoch_s: files and logs of an epoch, in s.
        spectrum_s: a point of a gradient trace with a spectrum, in s.
        start_s: from the start of a run to its first step, and its end, in s.
        watts: a GPU's board power, in W; of a core None, as an option states it.
        known_as: a pattern of the names that PyTorch gives it.
        source: where its numbers come from.
    """

    name: str
    kind: str
    flops: Mapping[str, float]
    network_rate: float
    loss_rate: float
    update_rate: float
    step_s: float
    call_s: float
    epoch_s: float = 0.05
    spectrum_s: float = 0.4
    start_s: float = 1.3
    watts: float | None = None
    known_as: str = ""
    source: str = ""


CORE = Machine(
    name="a core",
    kind="cpu",
    flops={Precision.fp32: 70e9, Precision.bf16: 170e9},
    network_rate=40e9,
    loss_rate=12e9,
    update_rate=20e9,
    step_s=250e-6,
    call_s=15e-6,
    source="fitted to the runs in results/",
)
"""A core of the servers on which the runs in `results/` were done."""

REACHED, BANDWIDTH_REACHED = 0.35, 0.6
"""Shares of a GPU's peak and bandwidth that small convolutions and elementwise kernels are assumed to reach."""

KERNEL_S, KERNELS_IN_A_CALL = 2.5e-6, 2.0
"""A kernel in a replayed CUDA graph, start to start, and kernels for a call of a layer; assumptions."""

KERNELS_IN_A_STEP = 40
"""Of the batch, the loss, the update and the sums, in a replayed graph; an assumption."""


def _gpu(
    name: str, known_as: str, *, fp32: float, tf32: float, bf16: float, bandwidth: float, watts: float, sheet: str
) -> Machine:
    """A GPU from its data sheet: TFLOP/s, TB/s and W."""
    peaks = {Precision.fp32: fp32, Precision.tf32: tf32, Precision.bf16: bf16}
    rate = BANDWIDTH_REACHED * bandwidth * 1e12
    return Machine(
        name=name,
        kind="cuda",
        flops={precision: REACHED * peak * 1e12 for precision, peak in peaks.items()},
        network_rate=rate,
        loss_rate=rate,
        update_rate=rate,
        step_s=KERNELS_IN_A_STEP * KERNEL_S,
        call_s=KERNELS_IN_A_CALL * KERNEL_S,
        spectrum_s=0.2,
        start_s=6.0,  # CUDA's start and the recording of the graphs
        watts=watts,
        known_as=known_as,
        source=f"NVIDIA's data sheet of the {sheet}",
    )


GPUS = {
    "h200": _gpu("H200", r"H200", fp32=67, tf32=495, bf16=990, bandwidth=4.8, watts=700, sheet="H200, SXM"),
    "h100": _gpu("H100", r"H100|H800", fp32=67, tf32=495, bf16=990, bandwidth=3.35, watts=700, sheet="H100, SXM"),
    "a100": _gpu(
        "A100", r"A100|A800", fp32=19.5, tf32=156, bf16=312, bandwidth=2.0, watts=400, sheet="A100, SXM, 80 GB"
    ),
    "l40s": _gpu("L40S", r"L40S", fp32=91.6, tf32=183, bf16=362, bandwidth=0.864, watts=350, sheet="L40S"),
    "l4": _gpu("L4", r"\bL4\b", fp32=30.3, tf32=60, bf16=121, bandwidth=0.3, watts=72, sheet="L4"),
    "a10": _gpu("A10", r"\bA10G?\b", fp32=31.2, tf32=62.5, bf16=125, bandwidth=0.6, watts=150, sheet="A10"),
    "v100": _gpu("V100", r"V100", fp32=15.7, tf32=15.7, bf16=15.7, bandwidth=0.9, watts=300, sheet="V100, SXM2"),
    "t4": _gpu("T4", r"\bT4\b", fp32=8.1, tf32=8.1, bf16=8.1, bandwidth=0.32, watts=70, sheet="T4"),
    "rtx4090": _gpu(
        "RTX 4090", r"RTX 4090", fp32=82.6, tf32=82.6, bf16=165, bandwidth=1.008, watts=450, sheet="GeForce RTX 4090"
    ),
    "rtx3090": _gpu(
        "RTX 3090", r"RTX 3090", fp32=35.6, tf32=35.6, bf16=71, bandwidth=0.936, watts=350, sheet="GeForce RTX 3090"
    ),
}
"""GPUs by the word that names them on a command line."""

USUAL = "a100"
"""The GPU whose numbers stand for one that is not among them."""


def gpu_named(device_name: str) -> Machine | None:
    """The GPU that PyTorch calls by a name; None: it is not among `GPUS`."""
    return next((gpu for gpu in GPUS.values() if re.search(gpu.known_as, device_name)), None)
