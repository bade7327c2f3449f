"""Record and arrays of a finished run (docs/files.md)."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from lossbench import NUMERICS
from lossbench.config.options import LossConfig
from lossbench.config.registry import LOSSES, plugin_facts
from lossbench.config.run import Config
from lossbench.data.bayes import bayes
from lossbench.models.build import count_parameters
from lossbench.models.features import output_layer
from lossbench.runs.folder import FORMAT
from lossbench.statistics.by_frequency import by_frequency
from lossbench.system.machine import commit, device_name, versions
from lossbench.training import metrics
from lossbench.training.evaluate import Evaluation, predict
from lossbench.training.steps import State


def identity(config: Config, run_id: str) -> dict[str, Any]:
    """Fields of a record that identify the run, with what is known of its plugins."""
    known = {"format": FORMAT, "run_id": run_id, "numerics": NUMERICS, "config": asdict(config)}
    return known | ({"plugins": plugin_facts(config.parts())} if config.plugins else {})


def circumstances(config: Config, device: torch.device, num_threads: int) -> dict[str, Any]:
    """Fields of a record about the machine, settings and versions with which a run is executed."""
    return {
        "device": device.type,
        "device_name": device_name(device),
        "num_threads": num_threads,
        "precision": config.schedule.precision.value,
        "deterministic": config.runtime.deterministic,
        "versions": versions(),
        "commit": commit(),
    }


def arrays_of(state: State, found: Evaluation, checkpoint: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of a finished run; with many classes only predictions and labels.

    Args:
        state: the state after the last epoch.
        found: the last evaluation on the test samples.
        checkpoint: the last checkpoint, which holds traces and gradient norms.
    """
    target, label = state.data.test.labels, np.min_scalar_type(state.data.num_classes - 1)
    arrays: dict[str, np.ndarray] = {
        "test_predictions": found.predictions.cpu().numpy().astype(label),
        "test_labels": target.cpu().numpy().astype(label),
    }
    bias = output_layer(state.model).bias
    if found.logits is None:
        return arrays
    logits = found.logits
    arrays |= {
        "test_logits": kept_logits(logits),
        "confusion_matrix": metrics.confusion_matrix(logits, target).cpu().numpy(),
    }
    if bias is not None:
        arrays["output_bias"] = bias.detach().float().cpu().numpy()
    if len(checkpoint["gradient_norms"]):
        arrays["gradient_norms_init"] = checkpoint["gradient_norms"].numpy()
    train_logits = predict(state, state.data.train)
    for split, values, labels in (("test", logits, target), ("train", train_logits, state.data.train.labels)):
        for name, means in metrics.mean_probabilities(values, labels).items():
            arrays[f"{split}_mean_{name}"] = means.cpu().numpy()
    return arrays | {name: torch.stack(values).numpy() for name, values in checkpoint["traces"].items()}


def kept_logits(logits: torch.Tensor) -> np.ndarray:
    """Logits [N, K] as a run keeps them and its scores are computed from: float16, clipped to its range."""
    return logits.clamp(-65504, 65504).cpu().numpy().astype(np.float16)


def probabilities_of(arrays: Mapping[str, np.ndarray], loss: LossConfig, class_counts: np.ndarray) -> dict[str, Any]:
    """The fields of a record that are computed from the run's logits: scores, ranks, and a digest of the test labels.

    Args:
        arrays: the run's.
        loss: the loss's options.
        class_counts: training samples of each class, [K]; kept in the record if the loss has a map of its own.
    """
    from lossbench.statistics.calibration import labels_sha256, scored  # here, since it imports scipy
    from lossbench.statistics.ranking import ranked

    if "test_logits" not in arrays:
        return {"test_labels_sha256": labels_sha256(arrays["test_labels"])}
    kept = {"class_counts": class_counts.tolist()} if "own" in LOSSES[loss.name].maps else {}
    of_run = arrays["test_logits"], arrays["test_labels"], loss, class_counts
    return scored(*of_run) | ranked(*of_run) | kept


def known_posterior(config: Config, state: State) -> dict[str, Any]:
    """The field of a record about the true posterior on the test samples; empty if it is not known."""
    test = state.data.test
    found = bayes(config.dataset, test.images.cpu().numpy(), test.labels.cpu().numpy())
    return {} if found is None else {"bayes": found}


def frequency_of(state: State, found: Evaluation) -> dict[str, Any]:
    """The fields of a record that measure classes by their frequency; none with few classes, whose logits are kept.

    Args:
        state: the state after the last epoch.
        found: the last evaluation on the test samples.
    """
    if found.nll is None:
        return {}
    arrays = found.predictions, state.data.test.labels, found.nll, state.data.class_counts
    return by_frequency(*(array.cpu().numpy() for array in arrays))


def record_of(
    config: Config,
    run_id: str,
    history: list[dict[str, Any]],
    state: State,
    device: torch.device,
    num_threads: int,
    wall_s: float,
    peak_mb: float,
) -> dict[str, Any]:
    """The record of a finished run.

    Args:
        config: the run's config.
        run_id: the run's name.
        history: lines of metrics of all epochs.
        state: the state after the last epoch.
        device: the device that was used.
        num_threads: CPU threads.
        wall_s: duration of all its sessions, in s.
        peak_mb: peak memory, in MB (10^6 bytes).
    """
    best = max(history, key=lambda line: line["test/accuracy"])
    others = [f"test/{name}" for name in config.dataset.metrics if name != "accuracy"]
    curves = ("train/loss", "train/accuracy", "test/loss", "test/accuracy", *others, "lr")
    train_s = sum(line["time/train_s"] for line in history)
    num_steps = sum(1e3 * line["time/train_s"] / line["time/step_ms"] for line in history)
    return {
        **identity(config, run_id),
        "test_accuracy": history[-1]["test/accuracy"],
        "test_accuracy_best": best["test/accuracy"],  # selected on the test set
        "test_accuracy_best_epoch": best["epoch"],
        "test_loss": history[-1]["test/loss"],
        "train_accuracy": history[-1]["train/accuracy"],
        **({"metrics": {name: history[-1][name] for name in others}} if others else {}),
        "num_parameters": count_parameters(state.model),
        "num_train": len(state.data.train.labels),
        "num_test": len(state.data.test.labels),
        **circumstances(config, device, num_threads),
        "wall_s": wall_s,
        "images_per_s": sum(line["time/images_per_s"] * line["time/train_s"] for line in history) / train_s,
        "step_ms": 1e3 * train_s / num_steps,
        "peak_memory_mb": peak_mb,
        "curves": {name: [line[name] for line in history] for name in curves},
    }
