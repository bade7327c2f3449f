"""Runs in two phases: the second begins with the last weights of the first, and may train on its predictions."""

import io
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lossbench.config.run import Config
from lossbench.data.load import Data, Split
from lossbench.runs.folder import Run, runs_dir
from lossbench.training.evaluate import evaluate
from lossbench.training.steps import State


def weights_of(run_id: str, state: State) -> bytes:
    """Content of `weights.pt`: a run's weights and the classes it predicts for the training samples, in their order."""
    predictions = evaluate(state, state.data.train).predictions
    kept = {"run_id": run_id, "model": state.model.state_dict(), "train_predictions": predictions}
    buffer = io.BytesIO()
    torch.save(kept, buffer)
    return buffer.getvalue()


def warm_start(config: Config, model: nn.Module, data: Data) -> Data:
    """Load the last weights of the run named by `schedule.warm_start` into a network; returns the data to train on.

    Raises:
        ValueError: the run is not finished, kept no weights, or has another network or another number of samples.
    """
    name = config.schedule.warm_start
    assert name is not None
    run = Run(runs_dir(config.runtime.output_dir) / name)
    content = run.read_weights() if run.finished else None
    if content is None:
        state = "kept no weights" if run.finished else "is not finished"
        raise ValueError(
            f"schedule.warm_start={name}: that run {state} in {run.folder.parent}; train it with "
            f"runtime.keep_weights=true first"
        )
    device = data.train.labels.device
    try:
        kept: dict[str, Any] = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        named, weights, predictions = kept["run_id"], kept["model"], kept["train_predictions"]
    except Exception as error:
        raise ValueError(f"{run.folder / 'weights.pt'} is damaged; remove that run's folder, train it again") from error
    if named != name:
        raise ValueError(f"{run.folder / 'weights.pt'} holds the weights of {named!a:.200}; remove that run's folder")
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"schedule.warm_start={name}: that run has another network than this one") from error
    return _relabelled(data, predictions, name) if config.schedule.relabel else data


def _relabelled(data: Data, predictions: Tensor, name: str) -> Data:
    if len(predictions) != len(data.train.labels):
        raise ValueError(
            f"schedule.relabel: the run {name} was trained on {len(predictions)} samples, but this one has "
            f"{len(data.train.labels)}"
        )
    labels = predictions.to(data.train.labels)
    counts = torch.bincount(labels, minlength=data.num_classes)
    return replace(data, train=Split(data.train.images, labels), class_counts=counts)
