"""Evaluation of a finished run's weights, on its own test samples or on another data set."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lossbench.config.options import TRAINING_ONLY, DatasetConfig
from lossbench.config.run import Config, Precision, Runtime
from lossbench.data.load import Data, load_data
from lossbench.data.sizes import sizes
from lossbench.losses.build import build_loss
from lossbench.runs.records import Record
from lossbench.runs.restored import config_of
from lossbench.statistics.calibration import scores
from lossbench.system.machine import device_name, use_device
from lossbench.training.evaluate import evaluate
from lossbench.training.fit import choose_device, process_settings
from lossbench.training.optimizer import build_optimizer
from lossbench.training.record import kept_logits
from lossbench.training.steps import State
from lossbench.training.weights import Weights, network_of, weights_in


@dataclass(frozen=True)
class RunEvaluation:
    """What a run's network does on test samples."""

    run_id: str
    dataset: dict[str, Any]  # the options of the data set
    num_test: int
    device: str  # "cpu" or "cuda"
    device_name: str
    precision: str
    accuracy: float  # a fraction
    loss: float  # the run's own loss, of all samples as one batch
    metrics: dict[str, float]  # what the data set declares beside accuracy
    scores: dict[str, dict[str, Any]] | None  # as in a record; None: more than 100 classes
    recorded: dict[str, Any] | None  # the record's accuracy, loss, scores, device; None: another data set
    as_recorded: bool | None  # whether accuracy, loss and scores are the record's, exactly; None: another data set


def evaluate_run(record: Record, folder: Path, dataset: DatasetConfig | None, runtime: Runtime) -> RunEvaluation:
    """Load the weights of a run and evaluate its network, as the run did after its last epoch.

    Inputs are normalised with the constants of the run's training, whatever the data set. On the processor the run's
    number of threads is used unless `runtime` has one, so that the numbers are the record's to the bit.

    Args:
        record: the run's.
        folder: of the run.
        dataset: what to test on; None: the run's own data set.
        runtime: device, number of threads, and where data and cache are.

    Raises:
        ValueError: the run has no weights, or their file is not the one that it wrote; a plugin of the run is not
            loaded or has changed; the data set has another shape or number of classes; or the device is not there.
    """
    fields = record.fields
    weights = weights_in(folder, fields)
    config = config_of(fields, runtime)
    device = choose_device(runtime.device, Precision.fp32)
    precision = config.schedule.precision
    if precision is Precision.tf32 and device.type == "cpu":
        precision = Precision.fp32  # a GPU's arithmetic
    tested_on = config.dataset if dataset is None else dataset
    is_own = _options(tested_on) == _options(config.dataset)
    if not is_own:
        _check_fits(tested_on, config, weights)
    threads = runtime.num_threads or fields.get("num_threads") or torch.get_num_threads()
    use_device(device)
    with process_settings(threads, precision, bool(fields.get("deterministic"))):
        state = _state(config, weights, load_data(tested_on, runtime, device), fields, precision)
        found = evaluate(state, state.data.test, tested_on.metrics)
    labels = state.data.test.labels.cpu().numpy()
    scored = None
    if found.logits is not None:
        scored = scores(kept_logits(found.logits), labels, config.loss, weights.class_counts.cpu().numpy())
    recorded = None
    if is_own:
        recorded = {key: fields.get(key) for key in ("test_accuracy", "test_loss", "scores", "device", "device_name")}
    measured = {"test_accuracy": found.metrics["accuracy"], "test_loss": found.loss, "scores": scored}
    return RunEvaluation(
        record.id,
        asdict(tested_on),
        len(labels),
        device.type,
        device_name(device),
        precision.value,
        found.metrics["accuracy"],
        found.loss,
        {name: value for name, value in found.metrics.items() if name != "accuracy"},
        scored,
        recorded,
        None if recorded is None else measured == {key: recorded[key] for key in measured},
    )


def _options(dataset: DatasetConfig) -> dict[str, Any]:
    """Which test samples a data set has, wherever its file lies."""
    return {key: value for key, value in asdict(dataset).items() if key not in ("path", *TRAINING_ONLY)}


def _check_fits(dataset: DatasetConfig, config: Config, weights: Weights) -> None:
    """Refuse a data set whose inputs or classes the network does not have."""
    known = sizes(dataset)
    if (known.shape, known.num_classes) != (weights.shape, weights.num_classes):
        raise ValueError(
            f"dataset={dataset.name} has inputs of shape {list(known.shape)} and {known.num_classes} classes; "
            f"{weights.run_id} was trained on dataset={config.dataset.name} with {list(weights.shape)} and "
            f"{weights.num_classes}"
        )


def _state(config: Config, weights: Weights, data: Data, record: Any, precision: Precision) -> State:
    """The run after its last epoch, with test samples of `data` and all else as in its training."""
    device = data.test.labels.device
    counts = weights.class_counts.to(device)
    scale, shift = (None if part is None else part.to(device) for part in (weights.scale, weights.shift))
    data = replace(data, class_counts=counts, scale=scale, shift=shift)
    model = network_of(record, weights).to(device)
    draws = torch.Generator(device) if weights.in_two_parts else None
    loss = build_loss(config.loss, counts, draws)
    optimizer = build_optimizer(model, config.schedule)
    return State(model, optimizer, loss, data, precision, weights.in_two_parts, config.loss.as_read, draws)
