"""The parts of `make benchmark` for a CPU."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from baseline import looped_lgl_inr
from measure import alternate, copy_rate, cost_of_step, matmul_rate, seconds, table
from runners import BaselineSpeed, Change, Report, Runner, Together, config_of, default_format
from torch import nn

from lossbench.config.registry import LOSSES
from lossbench.config.run import Runtime, Schedule
from lossbench.losses import largest
from lossbench.losses.build import build_loss
from lossbench.system.machine import num_cores
from lossbench.training.evaluate import predict
from lossbench.training.steps import State

HERE = Path(__file__).parent
STEPS = {"cnn2c": 100, "cnn5c": 4, "mobilenetv2": 3, "resnet18": 2}
"""Steps per repetition on a CPU; a repetition takes about a second."""


def networks(report: Report, runtime: Runtime, repetitions: int, models: list[str]) -> None:
    """Speed of each network, compared with the conventional loop and with the hardware's limit."""
    cores, device = num_cores(), torch.device("cpu")
    torch.set_num_threads(cores)
    rates = {"fp32": matmul_rate(device, torch.float32), "bf16": matmul_rate(device, torch.bfloat16)}
    copied = copy_rate(device)
    report.say(
        f"Yardsticks on {cores} cores: matrix product {rates['fp32'] / 1e9:.0f} GFLOP/s in float32, "
        f"{rates['bf16'] / 1e9:.0f} in bfloat16; copy {copied / 1e9:.1f} GB/s."
    )
    rows = []
    for model in models:
        num = STEPS[model]
        configs = {precision: config_of(model, precision, num, runtime) for precision in ("fp32", "bf16")}
        variants: dict[str, Callable[[], float]] = {
            f"baseline, {workers} workers": BaselineSpeed(configs["fp32"], workers, num) for workers in (0, 2)
        }
        variants |= {precision: Runner(config, cores) for precision, config in configs.items()}
        together = Together(configs["fp32"], cores, 2.0) if model == "cnn2c" else None
        if together is not None:
            variants[f"fp32, {cores} runs of one thread"] = together
        found = report.keep(model, alternate(variants, repetitions))
        for variant in variants.values():
            if isinstance(variant, BaselineSpeed | Together):
                variant.close()
        best = max((name for name in found if name.startswith("base")), key=lambda name: found[name].median)
        for name, speed in found.items():
            precision = "bf16" if name == "bf16" else "fp32"
            cost = cost_of_step(configs[precision])
            bound = cost.flops / rates[precision], cost.bytes / copied
            measured = configs[precision].schedule.batch_size / speed.median
            rows.append(
                [model, name, speed, speed.over(found[best])]
                + [f"{1e3 * part:.1f}" for part in (measured, *bound)]
                + [f"{100 * sum(bound) / measured:.0f} %"]
            )
    header = ["network", "variant", "images/s", "over the better baseline", "step, ms"]
    report.say(table([*header, "products at least, ms", "memory at least, ms", "of the bound"], rows))


def losses(report: Report, runtime: Runtime, repetitions: int) -> None:
    """Forward and backward pass of the losses, compared with a CNN2C step; both on one core."""
    step = 64 / Runner(config_of("cnn2c", "fp32", 60, runtime), 1)()
    rows = []
    torch.set_num_threads(1)
    for num_classes in (10, 100, 1000, 10_000):
        logits = torch.randn(64, num_classes, requires_grad=True)
        target = torch.randint(num_classes, (64,))
        losses: dict[str, Any] = {
            name: build_loss(facts.options(), torch.ones(num_classes, dtype=torch.int64))
            for name, facts in LOSSES.items()
            if facts.options.needs == "logits"
        }
        if num_classes == 10:
            losses["lgl_inr, looped"] = looped_lgl_inr

        def timed(loss: Any, logits: Any = logits, target: Any = target) -> Callable[[], float]:
            def work() -> None:
                for _ in range(10):
                    torch.autograd.grad(loss(logits, target), logits)

            return lambda: 1e2 * seconds(work, torch.device("cpu"))

        found = alternate({name: timed(loss) for name, loss in losses.items()}, 4 * repetitions)
        report.keep(f"losses, {num_classes} classes", found)
        for name, spread in found.items():
            share = f"{spread.median / step / 10:.1f} %" if num_classes == 10 else ""
            rows.append([num_classes, name, spread, share])
    report.say(table(["classes", "loss, batch 64, one core", "forward and backward, ms", "of a CNN2C step"], rows))


def many_classes(report: Report, runtime: Runtime, repetitions: int) -> None:
    """Losses of many classes with Zipf's frequencies, batch 256, forward and backward, one core, beside PyTorch's."""
    rows = []
    torch.set_num_threads(1)
    for num_classes in (1000, 10_000, 100_000):
        draw = torch.Generator().manual_seed(0)
        logits = (3 * torch.randn(256, num_classes, generator=draw)).requires_grad_()
        target = torch.multinomial(1 / torch.arange(1, num_classes + 1.0), 256, True, generator=draw)
        counts = torch.ones(num_classes, dtype=torch.int64)
        names = ("lgl", "lgl_inr", "sparsemax", "entmax")
        losses: dict[str, Any] = {name: build_loss(LOSSES[name].options(), counts) for name in names}
        losses = {"torch cross_entropy": torch.nn.functional.cross_entropy} | losses
        if num_classes <= 10_000:  # with more, sorting takes seconds
            losses |= {f"{name}, all logits sorted": _of_all(losses[name]) for name in ("sparsemax", "entmax")}
        num = max(100_000 // num_classes, 1)

        def timed(loss: Any, logits: Any = logits, target: Any = target, num: int = num) -> Callable[[], float]:
            def work() -> None:
                for _ in range(num):
                    torch.autograd.grad(loss(logits, target), logits)

            return lambda: 1e3 * seconds(work, torch.device("cpu")) / num

        found = alternate({name: timed(loss) for name, loss in losses.items()}, 2 * repetitions)
        report.keep(f"many classes, {num_classes} classes", found)
        first = found["torch cross_entropy"].median
        rows += [[num_classes, name, spread, f"{spread.median / first:.2f}"] for name, spread in found.items()]
    report.say(table(["classes", "loss, batch 256, one core", "forward and backward, ms", "times cross_entropy"], rows))


def _of_all(loss: Any) -> Any:
    """Sparsemax or entmax of all logits, not of the largest ones alone."""

    def of_all(logits: Any, target: Any) -> Any:
        before, largest.FIRST = largest.FIRST, logits.shape[1]
        try:
            return loss(logits, target)
        finally:
            largest.FIRST = before

    return of_all


def evaluation(report: Report, runtime: Runtime, repetitions: int, models: list[str]) -> None:
    """Evaluation of images, compared with the forward pass of training."""
    rows = []
    for model in models:
        num = STEPS[model]
        runner = Runner(config_of(model, "fp32", num, runtime), num_cores())
        data, state = runner.state.data, runner.state
        images = data.train.images

        def forward(state: State = state, images: Any = images) -> float:
            state.model.train()
            took = seconds(
                lambda: [state.model(state.data.inputs(images[i : i + 64])) for i in range(0, len(images), 64)],
                torch.device("cpu"),
            )
            return 1e6 * took / len(images)

        def evaluation(state: State = state, split: Any = data.train, num: int = len(images)) -> float:
            return 1e6 * seconds(lambda: predict(state, split), torch.device("cpu")) / num

        torch.set_num_threads(num_cores())
        variants = {"forward in training": forward, "evaluation": evaluation}
        found = report.keep(f"evaluation, {model}", alternate(variants, repetitions))
        rows.append([model, *found.values(), found["evaluation"].over(found["forward in training"])])
    report.say(table(["network", "forward in training, us/image", "evaluation, us/image", "ratio"], rows))


class TorchSgd(torch.optim.SGD):
    """PyTorch's own optimiser in place of lossbench's."""

    def __init__(self, state: State, schedule: Schedule, foreach: bool) -> None:
        super().__init__(state.model.parameters(), schedule.lr, schedule.momentum, foreach=foreach)


def _relu_before_pooling(state: State, _: Schedule) -> None:
    layers = list(state.model.children())
    for place, layer in enumerate(layers[:-1]):
        if isinstance(layer, nn.MaxPool2d):
            layers[place : place + 2] = [layers[place + 1], layer]
    state.model = nn.Sequential(*layers)


def _looped_loss(state: State, _: Schedule) -> None:
    state.loss = looped_lgl_inr


def _optimiser(foreach: bool) -> Change:
    def exchange(state: State, schedule: Schedule) -> None:
        state.optimizer = TorchSgd(state, schedule, foreach)  # type: ignore[assignment]  # it has the same methods

    return exchange


def _compiled(state: State, _: Schedule) -> None:
    state.model = torch.compile(state.model)  # type: ignore[assignment]
    state.loss = torch.compile(state.loss)


ALTERNATIVES: dict[str, Change | None] = {
    "as it is": None,
    "PyTorch's default memory format": default_format,
    "ReLU before pooling": _relu_before_pooling,
    "torch.optim.SGD, foreach": _optimiser(foreach=True),
    "torch.optim.SGD, a tensor at a time": _optimiser(foreach=False),
    "LGL-INR with loops": _looped_loss,
    "torch.compile of network and loss": _compiled,
}


def alternatives(report: Report, runtime: Runtime, repetitions: int) -> None:
    """Effect of each choice in a CNN2C step: the step with one choice reverted or another one made."""
    variants: dict[str, Callable[[], float]] = {}
    for name, change in ALTERNATIVES.items():
        config = config_of("cnn2c", "fp32", STEPS["cnn2c"] // 2, runtime)
        variants[name] = Runner(config, num_cores(), change)
    try:
        variants["torch.compile of network and loss"]()
    except Exception as error:  # it needs a C++ compiler
        report.say(f"torch.compile does not work here: {type(error).__name__}.")
        del variants["torch.compile of network and loss"]
    found = report.keep("alternatives", alternate(variants, repetitions))
    rows = [[name, speed, speed.over(found["as it is"])] for name, speed in found.items()]
    report.say(table(["CNN2C step on all cores", "images/s", "over the step as it is"], rows))


def sizes(report: Report, runtime: Runtime, repetitions: int) -> None:
    """Images/s of CNN2C by batch size, and of several runs in parallel."""
    config = config_of("cnn2c", "fp32", STEPS["cnn2c"], runtime)
    variants: dict[str, Callable[[], float]] = {
        f"batch {size}": Runner(replace(config, schedule=replace(config.schedule, batch_size=size)), num_cores())
        for size in (16, 32, 64, 128, 256, 1024)
    }
    together = {num: Together(config, num, 2.0) for num in (1, 2, 4)}
    variants |= {f"{num} runs at a time, a thread each": runs for num, runs in together.items()}
    found = report.keep("sizes", alternate(variants, repetitions))
    for runs in together.values():
        runs.close()
    rows = [[name, speed, speed.over(found["batch 64"])] for name, speed in found.items()]
    report.say(table(["CNN2C", "images/s of all runs", "over batch 64 on all cores"], rows))


def start_up(report: Report, runtime: Runtime, repetitions: int) -> None:
    """Time from the interpreter's start to the end of the first step, compared with `import torch`."""
    overrides = [f"runtime.{key}={value}" for key, value in vars(runtime).items() if key in ("output_dir", "device")]
    overrides += [f"runtime.data_dir={runtime.data_dir}"] if runtime.data_dir else []

    def importing() -> float:
        return seconds(lambda: subprocess.run([sys.executable, "-c", "import torch"], check=True), torch.device("cpu"))

    def first_step() -> float:
        command = [sys.executable, str(HERE / "first_step.py"), str(time.time()), "dataset=fmnist", *overrides]
        said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=HERE.parent).stdout
        return float(said.split()[-1])

    found = report.keep("start", alternate({"import torch": importing, "first step": first_step}, repetitions))
    ratio = found["first step"].over(found["import torch"])
    report.say(f"Start to the end of the first step: {ratio} times `import torch`.")
