"""Part `sampled` of the benchmark: steps of output layers of many classes, beside what one would write first."""

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from measure import alternate, copy_rate, matmul_rate, table
from runners import Report
from torch import Tensor, nn

from lossbench.config.registry import LOSSES
from lossbench.config.run import Optimizer, Runtime, Schedule
from lossbench.losses.build import build_loss
from lossbench.system.machine import keep_freed_memory
from lossbench.training.optimizer import build_optimizer

BATCH, FEATURES, NUM_SAMPLED = 256, 64, 100
LR = 0.1
LOSSES_OF_FEATURES = ("full_softmax", "sampled_softmax", "nce", "sampled_lgl", "adaptive_softmax")
WRITTEN, LOOPED = "F.cross_entropy(F.linear(h, W, b), y)", "sampled softmax, a loop over samples"

Step = Callable[[], None]


class Task:
    """A batch of features and targets, the latter with Zipf's frequencies, for output layers of K classes."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes, draw = num_classes, torch.Generator().manual_seed(0)
        shares = 1 / torch.arange(1, num_classes + 1.0)
        self.counts = (1e7 * shares / shares.sum()).long().clamp_min(1)
        self.features = torch.randn(BATCH, FEATURES, generator=draw).requires_grad_()
        self.targets = [torch.multinomial(shares, BATCH, True, generator=draw) for _ in range(16)]
        self.place = 0

    def target(self) -> Tensor:
        """The targets of the next batch."""
        self.place += 1
        return self.targets[self.place % len(self.targets)]

    def written(self, optimizer: type[torch.optim.Optimizer]) -> Step:
        """All logits, PyTorch's loss, and PyTorch's optimiser on all weights."""
        head = nn.Linear(FEATURES, self.num_classes)
        update = optimizer(head.parameters(), lr=LR)  # type: ignore[call-arg]

        def step() -> None:
            update.zero_grad()
            self.features.grad = None
            F.cross_entropy(head(self.features), self.target()).backward()  # type: ignore[no-untyped-call]
            update.step()

        return step

    def looped(self, optimizer: type[torch.optim.Optimizer]) -> Step:
        """Sampled softmax with negatives of its own for each sample, one sample after the other."""
        head = nn.Linear(FEATURES, self.num_classes)
        update = optimizer(head.parameters(), lr=LR)  # type: ignore[call-arg]
        q = self.counts / self.counts.sum()

        def step() -> None:
            update.zero_grad()
            self.features.grad = None
            losses = []
            for h, y in zip(self.features, self.target(), strict=True):
                classes = torch.cat([y[None], torch.multinomial(q, NUM_SAMPLED, True)])
                logits = head.weight[classes] @ h + head.bias[classes] - (NUM_SAMPLED * q[classes]).log()
                losses.append(torch.logsumexp(logits, 0) - logits[0])
            torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
            update.step()

        return step

    def ours(self, name: str, optimizer: Optimizer) -> Step:
        """A loss of lossbench with its own optimiser."""
        config: Any = LOSSES[name].options()
        head: Any = config.output_layer(FEATURES, self.num_classes) or nn.Linear(FEATURES, self.num_classes)
        loss: Any = build_loss(config, self.counts, torch.Generator().manual_seed(0))
        update = build_optimizer(head, Schedule(lr=LR, momentum=0.0, optimizer=optimizer))

        def step() -> None:
            update.zero_grad()
            self.features.grad = None
            loss(self.features, head, self.target()).backward()
            update.step()

        return step


def work_of(name: str, num_classes: int) -> tuple[float, float]:
    """FLOPs of the products of a step, and bytes that it must move: logits, weights and their gradients, float32.

    A product has a forward pass and two backward ones. Of all logits [B, K]: one pass of the product, two of the
    softmax, two of its gradient, and two that read it. Of all weights: two reads, their gradient written and read, and
    the update's two reads and one write (weights and Adagrad's sums). Of sampled rows: the same passes over m + B rows.
    """
    if name in (WRITTEN, "full_softmax"):
        return 6.0 * BATCH * num_classes * FEATURES, 4.0 * (7 * BATCH * num_classes + 8 * num_classes * FEATURES)
    rows = NUM_SAMPLED + BATCH
    return 6.0 * BATCH * (NUM_SAMPLED + 1) * FEATURES, 4.0 * (7 * BATCH * NUM_SAMPLED + 8 * rows * FEATURES)


def sampled(report: Report, runtime: Runtime, repetitions: int) -> None:
    """A step of output layer, loss, gradients and update, batch 256, 64 features, one core; each loss in turn."""
    torch.set_num_threads(1)
    keep_freed_memory()
    device = torch.device("cpu")
    rate, copied = matmul_rate(device, torch.float32), copy_rate(device)
    report.say(f"One core: matrix product {rate / 1e9:.0f} GFLOP/s in float32; copy {copied / 1e9:.1f} GB/s.")
    rows = []
    for optimizer, theirs in ((Optimizer.sgd, torch.optim.SGD), (Optimizer.adagrad, torch.optim.Adagrad)):
        for num_classes in (1000, 10_000, 100_000):
            task = Task(num_classes)
            steps = {WRITTEN: task.written(theirs)}
            steps |= {name: task.ours(name, optimizer) for name in LOSSES_OF_FEATURES}
            if optimizer is Optimizer.sgd and num_classes == 10_000:
                steps[LOOPED] = task.looped(theirs)
            variants = {name: _timed(name, step, num_classes) for name, step in steps.items()}
            found = report.keep(f"sampled, {optimizer}, {num_classes} classes", alternate(variants, 2 * repetitions))
            for name, spread in found.items():
                flops, moved = work_of(name, num_classes)
                bounds = ["", ""] if name in (LOOPED, "adaptive_softmax") else [f"{1e3 * flops / rate:.2g}"]
                bounds += [f"{1e3 * moved / copied:.2g}"] if len(bounds) == 1 else []
                rows.append([optimizer, num_classes, name, spread, found[WRITTEN].over(spread), *bounds])
    header = ["optimiser", "classes", "step, batch 256, one thread", "ms of CPU time", "times as fast as the first"]
    report.say(table([*header, "products at least, ms", "memory at least, ms"], rows))


def _timed(name: str, step: Step, num_classes: int) -> Callable[[], float]:
    """The time of a step in ms, of as many as take some hundredths of a second.

    It is the processor's time for this process, of one thread: other work on the machine does not count, beyond what it
    takes of caches.
    """
    full = name in (WRITTEN, "full_softmax")
    times = 1 if name == LOOPED else max(20_000 // num_classes, 1) if full else 50

    def measured() -> float:
        began = time.process_time()
        for _ in range(times):
            step()
        return 1e3 * (time.process_time() - began) / times

    return measured
