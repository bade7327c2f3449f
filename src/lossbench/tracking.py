"""How does one watch a run? TensorBoard beside the run's own files; nothing reads it back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from lossbench.config import Config


class NoTracker:
    """Watches nothing."""

    def epoch(self, line: Mapping[str, Any], weights: Tensor | None) -> None: ...

    def finish(self, config: Config, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None: ...


class TensorBoard:
    """A run's TensorBoard events, written anew from its metrics when it goes on, so that no point is there twice."""

    def __init__(self, folder: Path, history: Sequence[Mapping[str, Any]], weights: Sequence[Tensor]) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(str(folder))  # type: ignore[no-untyped-call]
        for index, line in enumerate(history):
            self.epoch(line, weights[index] if weights else None)

    def epoch(self, line: Mapping[str, Any], weights: Tensor | None) -> None:
        """Add an epoch's points, and LGL-INR's class weights [K, K] as an image."""
        epoch = line["epoch"]
        names = {"lr": "schedule/lr", "time/images_per_s": "time/images_per_s"}
        for name in ("train/loss", "train/accuracy", "test/loss", "test/accuracy"):
            names[name] = name
        for name, tag in names.items():
            self._writer.add_scalar(tag, line[name], epoch)  # type: ignore[no-untyped-call]
        for label, accuracy in enumerate(line["test/class_accuracy"]):
            self._writer.add_scalar(f"class_accuracy/{label}", accuracy, epoch)  # type: ignore[no-untyped-call]
        if weights is not None:
            image = np.kron((weights / weights.max()).numpy(), np.ones((24, 24)))[None]
            self._writer.add_image("lgl_inr/class_weights", image, epoch)  # type: ignore[no-untyped-call]
        self._writer.flush()  # type: ignore[no-untyped-call]

    def finish(self, config: Config, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Add the final confusion matrix and class weights as figures, and the HParams row."""
        from torch.utils.tensorboard.summary import hparams

        epochs = config.schedule.epochs
        self._figure("test/confusion_matrix", arrays["confusion_matrix"], "predicted", "true class", "d", epochs)
        if "class_weights" in arrays:
            final = arrays["class_weights"][-1]
            self._figure("lgl_inr/final_class_weights", final, "classifier k", "class j", ".3f", epochs)
        parameters = {
            f"{group}.{key}": value if isinstance(value, (bool, int, float)) else str(value)
            for group in ("dataset", "model", "loss", "schedule")
            for key, value in record["config"][group].items()
        }
        parameters = {key.removesuffix(".name"): value for key, value in parameters.items()} | {"seed": config.seed}
        results = {key: record[key] for key in ("test_accuracy", "test_accuracy_best", "wall_s")}
        for summary in hparams(parameters, {f"result/{key}": value for key, value in results.items()}):
            self._writer.file_writer.add_summary(summary)  # type: ignore[union-attr]
        for key, value in results.items():
            self._writer.add_scalar(f"result/{key}", value, epochs)  # type: ignore[no-untyped-call]
        self._writer.close()  # type: ignore[no-untyped-call]

    def _figure(self, tag: str, matrix: np.ndarray, columns: str, rows: str, form: str, step: int) -> None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 5.5), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(matrix, cmap="Blues")
        axes.set(xlabel=columns, ylabel=rows)
        if len(matrix) <= 20:
            axes.set(xticks=range(len(matrix)), yticks=range(len(matrix)))
            for (row, column), value in np.ndenumerate(matrix):
                color = "white" if value > matrix.max() / 2 else "black"
                axes.text(column, row, format(value, form), ha="center", va="center", fontsize=7, color=color)
        self._writer.add_figure(tag, figure, step)  # type: ignore[no-untyped-call]
