"""Time and memory of a training step with each of several losses, relative to a baseline; measured apart from runs.

The losses take turns in many short rounds, so that changes of the machine affect all of them alike, and a ratio is
taken within a round. Every turn begins from the run's initial weights.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from statistics import median, quantiles
from typing import Any
from weakref import finalize

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lossbench.config.run import Config
from lossbench.data.load import batch, plan_epoch
from lossbench.system.machine import commit, device_name, keep_freed_memory, use_device, versions
from lossbench.training.fit import check, process_settings, start_state, step_for
from lossbench.training.steps import State

BUDGET_S = 12.0
"""Time that the rounds of all losses take together, about, in s."""

ROUNDS = 5, 41
"""Fewest and most rounds; the budget decides in between."""

TURN_S = 0.05
"""A turn has as many steps as take about this time with the baseline, `STEPS` at least and at most; in s."""

STEPS = 1, 20

LOSS_TURN_S = 0.005
"""Likewise of the loss alone, with `CALLS`."""

CALLS = 1, 100


@dataclass(frozen=True)
class Ratio:
    """A loss's time over the baseline's in the same round: median and quartiles over rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class StepCost:
    """Cost of a training step with a loss.

    Args:
        step_ms: time of a training step (batch, network, loss, gradient, update), median over rounds.
        step: that time relative to the baseline; None: the baseline failed.
        loss_ms: time of the loss alone on logits of a batch, value and gradient, median over rounds.
        loss: likewise relative to the baseline.
        step_mb: peak memory that a step needs for tensors beyond those that stay (weights, velocities, data), in MB
            (10^6 bytes).
        loss_mb: the same of the loss alone.
        rounds: number of rounds.
        failed: why there is no measurement; None: there is one. All numbers are None then.
    """

    step_ms: float | None = None
    step: Ratio | None = None
    loss_ms: float | None = None
    loss: Ratio | None = None
    step_mb: float | None = None
    loss_mb: float | None = None
    rounds: int = 0
    failed: str | None = None


def step_costs(
    configs: Mapping[str, Config], baseline: str, budget_s: float = BUDGET_S, num_threads: int | None = None
) -> dict[str, StepCost]:
    """The cost of a training step with each loss, on the device and in the precision of the configs.

    A loss that fails has the reason in its entry; the others are measured all the same.

    Args:
        configs: a run of each loss by label; they differ in the loss alone.
        baseline: label of the loss that the others are compared with.
        budget_s: time of all rounds, about, in s; setting up comes on top.
        num_threads: CPU threads; None: those of the configs, or PyTorch's number.

    Raises:
        ValueError: there is no such baseline.
    """
    if baseline not in configs:
        raise ValueError(f"the baseline {baseline} is not among the losses: {', '.join(configs)}")
    one = configs[baseline]
    threads = num_threads or one.runtime.num_threads or torch.get_num_threads()
    keep_freed_memory()
    with process_settings(threads, one.schedule.precision, one.runtime.deterministic):
        return _Measurement(configs, baseline).costs(budget_s)


def measured_step_costs(
    configs: Mapping[str, Config], baseline: str, budget_s: float = BUDGET_S, num_threads: int | None = None
) -> dict[str, Any]:
    """`step_costs` as plain JSON under "losses", with the baseline and what it was measured on."""
    found = step_costs(configs, baseline, budget_s, num_threads)
    one = configs[baseline]
    try:
        device = device_name(check(one))
    except ValueError:
        device = one.runtime.device
    return {
        "baseline": baseline,
        "device": device,
        "precision": one.schedule.precision.value,
        "batch_size": one.schedule.batch_size,
        "num_threads": num_threads or one.runtime.num_threads or torch.get_num_threads(),
        "torch": versions()["torch"],
        "commit": commit(),
        "losses": {label: asdict(cost) for label, cost in found.items()},
    }


class _Measurement:
    """The losses that can be measured, with their times by round; what fails is left out from then on."""

    def __init__(self, configs: Mapping[str, Config], baseline: str) -> None:
        self._baseline, self._labels = baseline, list(configs)
        self._failed: dict[str, str] = {}
        self._runs: dict[str, _OneLoss] = {}
        data: Any = None
        for label in self._order():
            with self._kept_apart(label):
                run = _OneLoss(configs[label], data)
                data = data or run.shared
                self._runs[label] = run

    def _order(self) -> list[str]:
        """The baseline first; then the others."""
        return [self._baseline, *(label for label in self._labels if label != self._baseline)]

    @contextmanager
    def _kept_apart(self, label: str) -> Iterator[None]:
        """Note what goes wrong with a loss, in place of an error."""
        try:
            yield
        except Exception as error:  # a loss can raise anything
            self._failed[label] = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            self._runs.pop(label, None)

    def _measure(self, what: "Callable[[_OneLoss], None]") -> None:
        for label in self._order():
            if label in self._runs:
                with self._kept_apart(label):
                    what(self._runs[label])

    def costs(self, budget_s: float) -> dict[str, StepCost]:
        self._measure(_OneLoss.warm_up)
        self._measure(_OneLoss.measure_memory)
        self._measure(_OneLoss.estimate)
        first = next(iter(self._runs.values()), None)
        steps = _number(TURN_S, first.about_s[0], STEPS) if first else 1
        calls = _number(LOSS_TURN_S, first.about_s[1], CALLS) if first else 1
        began, rounds = time.perf_counter(), 0
        while self._runs and rounds < ROUNDS[1]:
            done_s = time.perf_counter() - began
            if rounds >= ROUNDS[0] and done_s * (rounds + 1) / rounds > budget_s:
                break
            self._measure(lambda run: run.take_turn(steps, calls))
            rounds += 1
        return {label: self._cost(label) for label in self._labels}

    def _cost(self, label: str) -> StepCost:
        if label not in self._runs:
            return StepCost(failed=self._failed[label])
        run, base = self._runs[label], self._runs.get(self._baseline)
        return StepCost(
            1e3 * median(run.step_s),
            _ratio(run.step_s, base.step_s) if base else None,
            1e3 * median(run.loss_s),
            _ratio(run.loss_s, base.loss_s) if base else None,
            run.step_mb,
            run.loss_mb,
            len(run.step_s),
        )


def _number(turn_s: float, each_s: float, limits: tuple[int, int]) -> int:
    """How often something is done in a turn."""
    return max(limits[0], min(limits[1], math.ceil(turn_s / max(each_s, 1e-9))))


def _ratio(times: list[float], base: list[float]) -> Ratio:
    """Over the rounds; both have as many, as a loss that fails is left out."""
    ratios = [mine / its for mine, its in zip(times, base, strict=True)]
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    return Ratio(middle, low, high)


class _OneLoss:
    """A run at its initial weights, its step and its loss alone, with their times in s by round."""

    def __init__(self, config: Config, data: Any) -> None:
        self._device = check(config)
        use_device(self._device)
        self._state = start_state(config, self._device)
        self.shared = None if config.schedule.relabel else self._state.data
        if data is not None and self.shared is not None:
            self._state.data = data  # one copy of the samples for all losses
        self._state.model.train()
        self._kept = [tensor.detach().clone() for tensor in self._state.changing()]
        size = config.schedule.batch_size
        plan = plan_epoch(self._state.data, config.seed, epoch=1)
        self._batches = [plan[:, start : start + size] for start in range(0, plan.shape[1] - size + 1, size)]
        self._step = step_for(self._state, config)
        self._eager = step_for(self._state, replace(config, runtime=replace(config.runtime, cuda_graphs=False)))
        self._place = 0
        _, self._target = batch(self._state.data, self._batches[0])
        self._given = self._inputs_of_loss()
        self.step_s: list[float] = []
        self.loss_s: list[float] = []
        self.about_s = (math.nan, math.nan)
        self.step_mb = self.loss_mb = math.nan

    def _inputs_of_loss(self) -> Tensor:
        """Normal logits [B, K], or features [B, F] for a loss that needs them."""
        state: State = self._state
        head: Any = state.model.head if state.by_features else None
        num = head.in_features if head is not None else state.data.num_classes
        generator = torch.Generator().manual_seed(0)
        given = torch.randn(len(self._target), num, generator=generator).to(self._device)
        return given.requires_grad_()

    def call_loss(self) -> None:
        """The loss alone, value and gradient."""
        head: Any = (self._state.model.head,) if self._state.by_features else ()
        torch.autograd.grad(self._state.loss(self._given, *head, self._target), self._given)

    def step(self) -> None:
        """A training step on the next batch."""
        self._step(self._batches[self._place % len(self._batches)])
        self._place += 1

    def estimate(self) -> None:
        """Find out how long a step and the loss alone take, about."""
        step_s, loss_s = (min(self._seconds(work) for _ in range(3)) for work in (self.step, self.call_loss))
        self.about_s = step_s, loss_s

    def warm_up(self) -> None:
        """Do everything once, so that libraries choose their kernels and a graph is recorded."""
        for _ in range(2):
            self.step()
            self.call_loss()
        self._wait()

    def measure_memory(self) -> None:
        """Peak of the tensors of a step and of the loss alone."""

        def eager_step() -> None:
            self._eager(self._batches[0])

        self._state.optimizer.zero_grad()
        self.step_mb = peak_mb(eager_step, self._device)
        self.loss_mb = peak_mb(self.call_loss, self._device)

    def take_turn(self, steps: int, calls: int) -> None:
        """Some steps from the initial weights, and the loss alone."""
        with torch.no_grad():
            for tensor, value in zip(self._state.changing(), self._kept, strict=True):
                tensor.copy_(value)
        self._place = 0
        step_s = self._seconds(self.step, steps)
        self.loss_s.append(self._seconds(self.call_loss, calls))
        self.step_s.append(step_s)  # last, so that both have the same rounds

    def _seconds(self, work: Callable[[], None], times: int = 1) -> float:
        self._wait()
        began = time.perf_counter()
        for _ in range(times):
            work()
        self._wait()
        return (time.perf_counter() - began) / times

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def peak_mb(work: Callable[[], object], device: torch.device) -> float:
    """The most memory, in MB (10^6 bytes), that the tensors made by some work take at a time.

    On a GPU it is the peak of PyTorch's allocator above what was allocated before. On a CPU it is the sum of the sizes
    of all tensors that operations return and that are not freed yet; memory that an operation uses inside itself is not
    in it.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    with _LiveTensors() as live:
        work()
    return float(live.peak) / 1e6


class _LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type it
    """Counts the bytes of the tensors made in the block that are alive, and their largest number."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """True, since the compiler plays no part here and its import takes seconds."""
        return True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the operation, and count what it returns unless it shares memory with what it was given."""
        found = func(*args, **(kwargs or {}))
        given = {storage._cdata for storage in _storages((args, kwargs))}
        for storage in _storages(found):
            self._count(storage, given)
        return found

    def _count(self, storage: Any, given: set[int]) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known or key in given:
            return
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        finalize(storage, self._freed, key, size)

    def _freed(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def _storages(tree: Any) -> Iterator[Any]:
    """The memory of the tensors in a tree; a sparse one has that of its indices and of its values."""
    for one in tree_leaves(tree):
        if isinstance(one, Tensor):
            parts = (one._indices(), one._values()) if one.is_sparse else (one,)
            yield from (part.untyped_storage() for part in parts)
