"""Facts about the machine and the code for a run's record, and settings of devices and memory."""

import contextlib
import ctypes
import gc
import os
import platform
import resource
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lossbench import __version__

if TYPE_CHECKING:
    import torch


@cache
def commit() -> str | None:
    """The commit of lossbench's checkout, followed by "-dirty" if tracked files differ; None without a checkout.

    A repository that contains lossbench without tracking it does not count. Changes in `results/` are ignored: it
    grows as runs finish and affects none of them. The environment variable LOSSBENCH_COMMIT, if set, is used instead,
    for copies without a history.
    """
    if given := os.environ.get("LOSSBENCH_COMMIT"):
        return given
    head, own = _git("rev-parse", "HEAD"), _git("ls-files", "--error-unmatch", "--", Path(__file__).name)
    if head is None or own is None or head.returncode != 0 or own.returncode != 0:
        return None
    changed = _git("diff", "--quiet", "HEAD", "--", ":(top)", ":(top,exclude)results")
    return head.stdout.strip() + ("-dirty" if changed is None or changed.returncode != 0 else "")


def _git(*words: str) -> "subprocess.CompletedProcess[str] | None":
    try:
        return subprocess.run(
            ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


@cache
def versions() -> dict[str, str]:
    """Versions of Python, lossbench and the numerical packages, by name."""
    import torch

    found = {"python": platform.python_version(), "lossbench": __version__, "torch": str(torch.__version__)}
    for package in ("torchvision", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@contextmanager
def without_collector() -> Iterator[None]:
    """Pause Python's search for cycles of objects, which would go through all records again while they are read.

    Records hold no cycles, so nothing is lost; other memory is freed as usual.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def num_cores(root: Path = Path("/")) -> int:
    """Processor cores that this process may use: its CPU affinity, limited by a container's quota.

    Args:
        root: the folder with proc/ and sys/.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *map(int, _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """Quotas, in cores, of this process's Linux control group and of the groups above it (versions 1 and 2).

    In a container the group may carry its name from outside, so paths that do not exist are skipped.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        controllers, _, group = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        for tree in ("sys/fs/cgroup", "sys/fs/cgroup/unified") if not controllers else _V1_TREES:
            inside = PurePosixPath(group.lstrip("/"))
            for place in (inside, *inside.parents):
                folder = root / tree / place
                yield from _quota(_text(folder / "cpu.max").split() if not controllers else _v1_quota(folder))


_V1_TREES = ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup/cpuacct,cpu")


def _v1_quota(folder: Path) -> list[str]:
    return [*_text(folder / "cpu.cfs_quota_us").split(), *_text(folder / "cpu.cfs_period_us").split()]


def _quota(words: Sequence[str]) -> Iterator[float]:
    """[quota, period] in microseconds as a number of cores; nothing if there is no limit."""
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]) > 0:
        yield int(words[0]) / int(words[1])


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""


@cache
def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next step instead of returning it to the kernel.

    With glibc's defaults every large tensor is fresh, zeroed memory: on two cores a MobileNetV2 run spent a third of
    its time in the kernel on that. With other C libraries this does nothing.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(-3, 2**30)  # M_MMAP_THRESHOLD: blocks up to 1 GiB come from the heap
    mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: the heap shrinks only beyond 2 GiB of free blocks


def use_device(device: "torch.device") -> None:
    """Initialise CUDA and make the given GPU current, so that streams and graphs are created on it."""
    import torch

    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
        if device.index is not None:
            torch.cuda.set_device(device)


def device_name(device: "torch.device") -> str:
    """Name of the GPU or of the processor."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()


def processor_name() -> str:
    """Name of the processor, as the records of runs on it give it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def has_bf16_kernels(device: "torch.device") -> bool:
    """Whether PyTorch has kernels for bfloat16 on the device; without them bfloat16 works, but slowly."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    known = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)  # not public
    return known is not None and bool(known())


def is_bf16_faster(device: "torch.device") -> bool:
    """Whether bfloat16 trains faster than float32 on the device; on a CPU both are timed, in about 0.1 s.

    The processor's name is not enough: with AMX bfloat16 is faster; with AVX-512 alone it is faster on some
    processors and takes twice the time on others.
    """
    import torch

    if not has_bf16_kernels(device):
        return False
    if device.type == "cuda":
        return True
    float32, bfloat16 = _convolution_seconds((torch.float32, torch.bfloat16))
    return bfloat16 < float32


def _convolution_seconds(dtypes: "Sequence[torch.dtype]", times: int = 6) -> list[float]:
    """Minimum time on the CPU of CNN5C's fourth convolution with its gradients, in s, one for each type."""
    import torch

    def timed(inputs: torch.Tensor, weight: torch.Tensor) -> float:
        start = time.perf_counter()
        torch.autograd.backward(torch.nn.functional.conv2d(inputs, weight, padding=1).sum())
        return time.perf_counter() - start

    tensors = [
        [
            torch.ones(shape, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
            for shape in ((16, 128, 14, 14), (256, 128, 3, 3))
        ]
        for dtype in dtypes
    ]
    return [min(found) for found in zip(*([timed(*pair) for pair in tensors] for _ in range(times)), strict=True)]


class PeakMemory:
    """Peak memory since this object was created: of tensors on the GPU, or of the process on a CPU."""

    def __init__(self, device: "torch.device") -> None:
        import torch

        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            with contextlib.suppress(OSError):  # without it the peak is that of the process, an upper bound
                Path("/proc/self/clear_refs").write_text("5")

    def mb(self) -> float:
        """The peak in MB (10**6 bytes)."""
        import torch

        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 1e6
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
            return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))
        except (OSError, StopIteration):
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
