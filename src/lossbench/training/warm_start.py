"""Runs in two phases: the second begins with the last weights of the first, and may train on its predictions."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from lossbench.config.run import Config
from lossbench.data.load import Data, Split
from lossbench.runs.folder import Run, runs_dir
from lossbench.runs.records import record_in
from lossbench.training.weights import set_weights, weights_in


def warm_start(config: Config, model: nn.Module, data: Data) -> Data:
    """Load the last weights of the run named by `schedule.warm_start` into a network; returns the data to train on.

    Raises:
        ValueError: the run is not finished, kept no weights, or has another network or another number of samples.
    """
    name = config.schedule.warm_start
    assert name is not None
    run = Run(runs_dir(config.runtime.output_dir) / name)
    if not run.finished:
        raise ValueError(
            f"schedule.warm_start={name}: that run is not finished in {run.folder.parent}; train it with "
            "runtime.save_weights=true first"
        )
    try:
        record = record_in(run.folder)
        if record.id != name:
            raise ValueError(f"{run.folder} holds the run {record.id}; rename the folder, or remove it")
        weights = weights_in(run.folder, record.fields)
        set_weights(model, weights)
    except ValueError as error:
        raise ValueError(f"schedule.warm_start={name}: {error}") from error
    return _relabelled(data, weights.train_predictions, name) if config.schedule.relabel else data


def _relabelled(data: Data, predictions: Tensor, name: str) -> Data:
    if len(predictions) != len(data.train.labels):
        raise ValueError(
            f"schedule.relabel: the run {name} was trained on {len(predictions)} samples, but this one has "
            f"{len(data.train.labels)}"
        )
    labels = predictions.to(data.train.labels)
    counts = torch.bincount(labels, minlength=data.num_classes)
    return replace(data, train=Split(data.train.images, labels), class_counts=counts)
