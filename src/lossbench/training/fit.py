"""Training a run to its end, from the beginning or from its checkpoint."""

import contextlib
import io
import math
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lossbench.config.naming import changed
from lossbench.config.registry import plugin_faults
from lossbench.config.run import Config, Precision
from lossbench.data.load import Data, Split, load_data
from lossbench.data.sizes import sizes
from lossbench.losses.build import build_loss
from lossbench.models.build import build_model, check_shape
from lossbench.models.features import in_two_parts, output_layer
from lossbench.runs.folder import FORMAT, Run
from lossbench.system.files import check_folder
from lossbench.system.machine import PeakMemory, commit, has_bf16_kernels, keep_freed_memory, use_device
from lossbench.system.screen import say
from lossbench.system.seeds import derived_seed
from lossbench.training import metrics, resume
from lossbench.training.capture import CapturedStep
from lossbench.training.evaluate import Evaluation, evaluate, has_few_classes
from lossbench.training.gradient_trace import arrays as gradient_arrays
from lossbench.training.gradient_trace import gradient_trace
from lossbench.training.optimizer import build_optimizer
from lossbench.training.record import (
    arrays_of,
    circumstances,
    frequency_of,
    identity,
    known_posterior,
    probabilities_of,
    record_of,
)
from lossbench.training.steps import OnStep, State, train_epoch, train_step
from lossbench.training.trace import gradient_norms, has_classes_apart, trace
from lossbench.training.trial import try_loss, try_model
from lossbench.training.warm_start import warm_start
from lossbench.training.weights import check_savable, weights_of


def choose_device(name: str, precision: Precision) -> torch.device:
    """The device for a run.

    Args:
        name: value of `runtime.device`.
        precision: the run's precision.

    Raises:
        ValueError: the device does not exist or does not support the precision.
    """
    available = torch.cuda.is_available()
    if name.startswith("cuda") and not available:
        raise ValueError(f"runtime.device={name}: no CUDA device is available; use runtime.device=cpu")
    device = torch.device("cuda" if name == "auto" and available else "cpu" if name == "auto" else name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"runtime.device={name}: there are only {torch.cuda.device_count()} CUDA devices")
    if precision is Precision.tf32 and device.type != "cuda":
        raise ValueError("schedule.precision=tf32 needs a CUDA device; use fp32 or bf16 on a CPU")
    return device


def check(config: Config) -> torch.device:
    """Check a config before any work is done; returns the device that the run will use.

    Raises:
        ValueError: the device or the output folder cannot be used, the data set is too small for the config, its
            images are too small for the network, or the loss does not fit the number of classes.
    """
    device = choose_device(config.runtime.device, config.schedule.precision)
    check_fits(config)
    return device


def check_fits(config: Config) -> None:
    """Check everything in a config but the device, which may be another machine's; raises as `check`."""
    check_folder(Path(config.runtime.output_dir), "runtime.output_dir")
    known = sizes(config.dataset)
    check_shape(config.model, known.shape, config.dataset.gives)
    _check_batch_size(config, known.num_train)
    try_model(config.model, known, config.dataset.gives, config.loss)
    with plugin_faults("loss", config.loss.name, "check_classes"):
        config.loss.check_classes(known.num_classes)
    try_loss(config.loss, known.num_classes)


def _check_batch_size(config: Config, num_train: int) -> None:
    if config.schedule.batch_size > num_train:
        raise ValueError(
            f"schedule.batch_size must be <= {num_train}, the training samples, got {config.schedule.batch_size}"
        )


def is_crawling(config: Config) -> bool:
    """Whether a run would be very slow: bfloat16 on a device for which PyTorch has no bfloat16 kernels."""
    return config.schedule.precision is Precision.bf16 and not has_bf16_kernels(check(config))


@contextlib.contextmanager
def process_settings(num_threads: int, precision: Precision, deterministic: bool) -> Iterator[None]:
    """Set PyTorch's process-wide settings in the block and restore them, so that runs do not influence each other."""
    cudnn: Any = torch.backends.cudnn
    matmul, conv = torch.backends.cuda.matmul, cudnn.conv
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
        matmul.fp32_precision,
        conv.fp32_precision,
    )
    torch.set_num_threads(num_threads)
    torch.backends.cudnn.benchmark = not deterministic
    matmul.fp32_precision = conv.fp32_precision = "tf32" if precision is Precision.tf32 else "ieee"
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        if deterministic:  # only then, since the call imports torch's compiler
            torch.use_deterministic_algorithms(before[1])
        torch.backends.cudnn.benchmark = before[2]
        matmul.fp32_precision, conv.fp32_precision = before[3], before[4]


def start_state(config: Config, device: torch.device, data: Data | None = None) -> State:
    """The state of a run before its first step: network, optimiser, loss and data on the device.

    Args:
        config: the run's.
        device: where it is trained.
        data: what takes the place of its data set; None: the data set.

    Raises:
        ValueError: the data set or the run named by `schedule.warm_start` is missing or does not fit.
    """
    data = data or load_data(config.dataset, config.runtime, device)
    _check_batch_size(config, len(data.train.labels))  # with imbalance the number is known only now
    seed = config.seed if config.model.init_seed is None else config.model.init_seed
    model = build_model(config.model, data.shape, data.num_classes, derived_seed(seed, 0, "initial weights"))
    by_features = config.loss.needs == "features"
    if by_features:
        model = in_two_parts(model, config.loss, data.num_classes, derived_seed(seed, 0, "output layer"))
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    for layer in model.modules():
        if isinstance(layer, torch.nn.Embedding):
            layer.sparse = device.type == "cpu"  # a sparse gradient's size is known on the host alone
    if config.schedule.warm_start is not None:
        data = warm_start(config, model, data)
    elif getattr(config.model, "prior_bias", False):
        head = model.head if by_features else output_layer(model)
        if isinstance(head, torch.nn.Linear):  # and no output layer of the loss's own
            with torch.no_grad():
                head.bias.copy_(config.loss.prior_logits(data.class_counts))
    draws = torch.Generator(device) if by_features else None
    loss = build_loss(config.loss, data.class_counts, draws)
    optimizer = build_optimizer(model, config.schedule)
    return State(model, optimizer, loss, data, config.schedule.precision, by_features, config.loss.as_read, draws)


def step_for(state: State, config: Config) -> Callable[[Tensor], None]:
    """The training step as a function of the plan's columns: a CUDA graph on a GPU, if enabled, else a plain call."""
    plain = partial(train_step, state)
    if state.data.train.labels.is_cuda and config.runtime.cuda_graphs and state.draws is None:  # a graph draws once
        return CapturedStep(plain, state.changing())
    return plain


def fit(config: Config, run: Run, on_step: OnStep = lambda epoch, fraction, line: None) -> dict[str, Any]:
    """Train a run to its end, from the beginning or from its checkpoint, and return its record.

    Args:
        config: the run's config.
        run: its folder, for checkpoint, metrics, arrays and record.
        on_step: called with the run's progress.

    Raises:
        ValueError: the config cannot be executed here (see `check`), the data are wrong, or the checkpoint is damaged.
        FloatingPointError: the loss is no longer finite; this is also written to the run's folder.
    """
    device = check(config)
    use_device(device)
    keep_freed_memory()
    commit()  # cached now, since the files may change before the record is written
    checkpoint = resume.read_checkpoint(run)
    run.start(config)
    if checkpoint is not None and checkpoint["device"] != device.type:
        run.log(f"begun on {checkpoint['device']}, starting afresh on {device.type}")
        say(f"{run.id} was begun on {checkpoint['device']} and starts afresh on {device.type}")
        checkpoint = None
    if checkpoint is None:
        run.restart()
    num_threads = checkpoint["num_threads"] if checkpoint else config.runtime.num_threads or torch.get_num_threads()
    with process_settings(num_threads, config.schedule.precision, config.runtime.deterministic):
        return _fit(config, run, device, num_threads, checkpoint, on_step)


def _fit(
    config: Config, run: Run, device: torch.device, num_threads: int, checkpoint: dict[str, Any] | None, on_step: OnStep
) -> dict[str, Any]:
    memory = PeakMemory(device)
    began = time.perf_counter()
    schedule = config.schedule
    state = start_state(config, device)
    if config.runtime.save_weights:
        check_savable(state.model)
    if checkpoint is None:
        checkpoint = {
            "epoch": 0,
            "device": device.type,
            "num_threads": num_threads,
            "wall_s": 0.0,
            "gradient_norms": gradient_norms(state).cpu() if has_classes_apart(state) else torch.empty(0),
            "class_trace": config.runtime.class_trace,  # fixed by the first session, so that every epoch has it or none
            "traces": {},
            "gradient_trace": [gradient_trace(state, config, 0, True)] if config.runtime.gradient_trace else [],
        }
    else:
        _restore(state, checkpoint, run)
        if checkpoint["class_trace"] != config.runtime.class_trace:
            run.log(f"begun with runtime.class_trace={checkpoint['class_trace']}, which is kept")
    history = resume.read_history(run, checkpoint)
    now = circumstances(config, device, num_threads)
    checkpoint |= {"run_id": run.id, "format": FORMAT, "sessions": resume.sessions(checkpoint, now)}
    checkpoint.setdefault("within_epochs", [])
    gradients: list[dict[str, Tensor]] = checkpoint.setdefault("gradient_trace", [])
    run.log(f"{run.id}: epoch {checkpoint['epoch'] + 1} of {schedule.epochs} on {device}, {num_threads} threads")
    traces: dict[str, list[Tensor]] = checkpoint["traces"]
    tracker = _tracker(config, run, history, traces)
    wall_before = checkpoint["wall_s"]
    diverged = partial(_diverged, state, config, run, checkpoint["sessions"])
    step, found = step_for(state, config), None
    for epoch in range(checkpoint["epoch"] + 1, schedule.epochs + 1):
        line, found, within = _epoch(state, step, config, diverged, epoch, on_step, gradients)
        history.append(line)
        traced = trace(config, state, found.logits, checkpoint["class_trace"])
        checkpoint |= {"epoch": epoch, "wall_s": wall_before + time.perf_counter() - began}
        checkpoint["within_epochs"] += within
        for name, values in traced.items():
            traces.setdefault(name, []).append(values)
        run.append_metrics(line)
        checkpoint["metrics_sha256"] = run.metrics_sha256()
        run.write_checkpoint(_serialised(checkpoint, state))
        run.log(_readable(line, schedule.epochs))
        tracker.epoch(line, traced)
        on_step(epoch, 1.0, _readable(line, schedule.epochs))
    if found is None:
        found = evaluate(state, state.data.test, config.dataset.metrics, with_nll=True)
    arrays = arrays_of(state, found, checkpoint) | gradient_arrays(gradients)
    wall_s = wall_before + time.perf_counter() - began
    record = record_of(config, run.id, history, state, device, num_threads, wall_s, memory.mb())
    record |= probabilities_of(arrays, config.loss, state.data.class_counts.cpu().numpy())
    record |= known_posterior(config, state)
    record |= frequency_of(state, found)
    record["sessions"] = checkpoint["sessions"]
    if checkpoint["within_epochs"]:
        record["within_epochs"] = checkpoint["within_epochs"]
    record = run.finish(record, arrays, weights_of(config, run.id, state) if config.runtime.save_weights else None)
    tracker.finish(config, record, arrays)
    return record


def _restore(state: State, checkpoint: dict[str, Any], run: Run) -> None:
    try:
        state.model.load_state_dict(checkpoint["model"])
        state.optimizer.restore(checkpoint["velocities"])
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        path = run.folder / "checkpoint.pt"
        raise ValueError(f"{path} holds the state of another network; remove it, {resume.WAY_OUT}") from error


def _epoch(
    state: State,
    step: Callable[[Tensor], None],
    config: Config,
    diverged: Callable[[int, int | None, float], FloatingPointError],
    epoch: int,
    on_step: OnStep,
    gradients: list[dict[str, Tensor]],
) -> tuple[dict[str, Any], Evaluation, list[dict[str, float]]]:
    """Train and test one epoch; appends to the gradient trace if it has begun.

    Raises the error that `diverged` makes from the epoch, the step and the loss, if the loss is not finite.

    Returns:
        The line of metrics, the evaluation on the test samples, and the evaluations within the epoch.
    """
    began = time.perf_counter()
    lr = config.schedule.lr_at(epoch)
    names = config.dataset.metrics
    within: list[dict[str, float]] = []

    def test_within(steps: int) -> None:
        one = evaluate(state, state.data.test, names)
        within.append({"step": steps, "test/loss": one.loss} | {f"test/{name}": one.metrics[name] for name in names})
        if gradients:
            gradients.append(gradient_trace(state, config, steps, with_spectrum=False))

    state.optimizer.set_lr(lr)
    num = train_epoch(state, step, config, epoch, on_step, test_within)
    train_loss, train_accuracy = state.loss_sum.item() / num, state.correct_sum.item() / num
    trained = time.perf_counter()
    if not math.isfinite(train_loss):
        raise diverged(epoch, int(state.finite_steps.item()) + 1, train_loss)
    if state.by_features:
        train_accuracy = evaluate(state, first_samples(state)).metrics["accuracy"]
    target = state.data.test.labels
    found = evaluate(state, state.data.test, names, with_nll=epoch == config.schedule.epochs)
    if not math.isfinite(found.loss):
        raise diverged(epoch, None, found.loss)
    num_steps = math.ceil(num / config.schedule.batch_size)
    if gradients:
        gradients.append(gradient_trace(state, config, epoch * num_steps, with_spectrum=True))
    by_class = metrics.class_accuracy_of(found.predictions, target, state.data.num_classes)
    line = {
        "epoch": epoch,
        "lr": lr,
        "train/loss": train_loss,
        "train/accuracy": train_accuracy,
        "test/loss": found.loss,
        **{f"test/{name}": found.metrics[name] for name in names},
        "test/class_accuracy": _or_none(by_class.tolist()) if has_few_classes(state) else None,
        "time/train_s": trained - began,
        "time/test_s": time.perf_counter() - trained,
        "time/images_per_s": num / (trained - began),
        "time/step_ms": 1e3 * (trained - began) / num_steps,
    }
    return line, found, within


def first_samples(state: State) -> Split:
    """The first training samples, as many as test samples, to measure training accuracy if steps compute no logits."""
    num = len(state.data.test.labels)
    return Split(state.data.train.images[:num], state.data.train.labels[:num])


def _or_none(values: list[float]) -> list[float | None]:
    """Replace nan, which JSON lacks, by None."""
    return [None if math.isnan(value) else value for value in values]


def _diverged(
    state: State,
    config: Config,
    run: Run,
    sessions: list[dict[str, Any]],
    epoch: int,
    step: int | None,
    loss: float,
) -> FloatingPointError:
    """Write the divergence to the run's folder and return its error; `step` is None if the test loss shows it."""
    place = "after its last step" if step is None else f"step {step}"
    rate = config.schedule.lr_at(epoch)
    reason = (
        f"epoch {epoch}, {place}: the loss {config.loss.name} is {loss} at lr {rate:g}; the last finished epoch is "
        f"{epoch - 1}; a smaller schedule.lr may help"
    )
    done = circumstances(config, state.data.train.labels.device, torch.get_num_threads())
    where = {"epoch": epoch, "step": step, "reason": reason}
    run.diverge(identity(config, run.id) | where | done | {"sessions": sessions})
    return FloatingPointError(reason)


def _serialised(checkpoint: dict[str, Any], state: State) -> bytes:
    buffer = io.BytesIO()
    torch.save(checkpoint | {"model": state.model.state_dict(), "velocities": state.optimizer.state()}, buffer)
    return buffer.getvalue()


def _readable(line: dict[str, Any], epochs: int) -> str:
    return (
        f"epoch {line['epoch']:3d}/{epochs}  lr {line['lr']:.4g}  "
        f"train loss {line['train/loss']:.4f} accuracy {line['train/accuracy']:.4f}  "
        f"test loss {line['test/loss']:.4f} accuracy {line['test/accuracy']:.4f}  "
        f"{line['time/images_per_s']:.0f} images/s"
    )


def _tracker(config: Config, run: Run, history: list[dict[str, Any]], traces: dict[str, list[Tensor]]) -> Any:
    from lossbench.training.tensorboard import NoTracker, TensorBoard

    def report(text: str) -> None:
        run.log(text)
        say(text)

    if not config.runtime.tensorboard:
        return NoTracker()
    return TensorBoard(run.folder, history, traces, report, config.loss.name, changed(config))
