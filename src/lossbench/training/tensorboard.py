"""TensorBoard events of a run; they are only written, never read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor

from lossbench.config.run import Config

HPARAMS = "hparams"
"""The folder of a run's row in TensorBoard's HParams table."""


GENERAL = ("test_", "train_", "gradient_")
"""Prefixes of arrays that every loss may have; other arrays are specific to a loss."""


class NoTracker:
    """Stands in for `TensorBoard` where it is switched off; writes nothing."""

    def epoch(self, line: Mapping[str, Any], traced: Mapping[str, Tensor]) -> None: ...

    def finish(self, config: Config, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None: ...


class TensorBoard:
    """TensorBoard events of a run.

    When a run is resumed, they are written again from its metrics, so that no point appears twice. TensorBoard is
    imported after the first epoch. If its files cannot be written, the run continues without them.

    Args:
        folder: the run's folder.
        history: metrics of earlier epochs.
        traces: results of `trace.trace` for earlier epochs, by name.
        say: called once, with a sentence, if the files cannot be written.
        loss: name of the loss, under which its own diagnostics are shown.
        words: name of the folder of the events within the run's, which TensorBoard's list of runs shows after the run's
            name; empty: the run's folder itself.
    """

    def __init__(
        self,
        folder: Path,
        history: Sequence[Mapping[str, Any]],
        traces: Mapping[str, Sequence[Tensor]],
        say: Callable[[str], object],
        loss: str = "",
        words: str = "",
    ) -> None:
        self._loss, self._events = loss, folder / words
        self._folder, self._writer, self._say, self._given_up = folder, cast("Any", None), say, False
        # Copied now, since both lists grow.
        self._before = [
            (line, {name: values[index] for name, values in traces.items()}) for index, line in enumerate(history)
        ]

    @contextmanager
    def _unless_unwritable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._given_up = True
            self._say(f"TensorBoard: cannot write to {self._folder} ({error}); the run continues without it")

    def _open(self) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        for old in self._folder.rglob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(str(self._events))
        for line, traced in self._before:
            self._add(line, traced)

    def epoch(self, line: Mapping[str, Any], traced: Mapping[str, Tensor]) -> None:
        """Add an epoch's points and the results of `trace.trace`: matrices as images, vectors as points."""
        if not self._given_up:
            with self._unless_unwritable():
                if self._writer is None:
                    self._open()
                self._add(line, traced)

    def _add(self, line: Mapping[str, Any], traced: Mapping[str, Tensor]) -> None:
        epoch = line["epoch"]
        for name, value in line.items():
            if name.startswith(("train/", "test/")) and isinstance(value, float):
                self._writer.add_scalar(name, value, epoch)
        self._writer.add_scalar("time/images_per_s", line["time/images_per_s"], epoch)
        self._writer.add_scalar("schedule/lr", line["lr"], epoch)
        for label, accuracy in enumerate(line["test/class_accuracy"] or []):
            if accuracy is not None:  # None for a class without test images
                self._writer.add_scalar(f"class_accuracy/{label}", accuracy, epoch)
        for name, values in traced.items():
            if values.dim() == 1:
                for label, value in enumerate(values.tolist()):
                    self._writer.add_scalar(f"{name}/{label}", value, epoch)
            else:
                matrix = values.numpy()
                low, high = _range_of_weights(matrix)  # black and white, so that the diagonal does not hide the rest
                shades = ((matrix - low) / max(high - low, 1e-9)).clip(0, 1)
                self._writer.add_image(_tag(name, self._loss), np.kron(shades, np.ones((24, 24)))[None], epoch)
        self._writer.flush()

    def finish(self, config: Config, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Add the final confusion matrix and class weights as figures, and the HParams row."""
        if not self._given_up:
            with self._unless_unwritable():
                self._finish(config, record, arrays)

    def _finish(self, config: Config, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        if self._writer is None:  # the run was resumed after its last epoch
            self._open()
        epochs = config.schedule.epochs
        if "confusion_matrix" in arrays:
            self._figure("test/confusion_matrix", arrays["confusion_matrix"], "predicted", "true class", "d", epochs)
        for name, values in arrays.items():
            if values.ndim == 3 and not name.startswith(GENERAL):  # diagnostics of the loss by epoch
                tag = f"{config.loss.name}/final_{name}"
                self._figure(tag, values[-1], "classifier k", "class j", ".3f", epochs)
        self._writer.close()
        self._hparams(config, record)

    def _hparams(self, config: Config, record: Mapping[str, Any]) -> None:
        """Add the run's row of the HParams table, in a separate folder so that the table has no other metrics.

        An option has the same type in all runs and is left out if it is None. No run declares the columns: TensorBoard
        then shows those of all runs, beginning with the ones that vary.
        """
        from torch.utils.tensorboard.summary import hparams
        from torch.utils.tensorboard.writer import SummaryWriter

        parameters: dict[str, Any] = {"seed": float(config.seed)}
        for group in ("dataset", "model", "loss", "schedule"):
            for key, value in record["config"][group].items():
                name = group if key == "name" else f"{group}.{key}"
                if isinstance(value, (bool, str)):
                    parameters[name] = value
                elif value is not None:
                    parameters[name] = float(value) if isinstance(value, (int, float)) else str(value)
        results = {f"result/{key}": record[key] for key in ("test_accuracy", "test_accuracy_best", "wall_s")}
        summaries: Any = hparams
        writer: Any = SummaryWriter(str(self._events / HPARAMS))
        _, *own = summaries(parameters, results)
        for summary in own:
            writer.file_writer.add_summary(summary)
        for key, value in results.items():
            writer.add_scalar(key, value, config.schedule.epochs)
        writer.close()

    def _figure(self, tag: str, matrix: np.ndarray, columns: str, rows: str, form: str, step: int) -> None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 5.5), layout="constrained")
        axes = figure.add_subplot()
        low, high = _range_of_weights(matrix) if matrix.dtype.kind == "f" else (0, matrix.max())
        axes.imshow(matrix, cmap="Blues", vmin=low, vmax=high)
        axes.set(xlabel=columns, ylabel=rows)
        if len(matrix) <= 20:
            axes.set(xticks=range(len(matrix)), yticks=range(len(matrix)))
            for (row, column), value in np.ndenumerate(matrix):
                color = "white" if value > (low + high) / 2 else "black"
                axes.text(column, row, format(value, form), ha="center", va="center", fontsize=7, color=color)
        self._writer.add_figure(tag, figure, step)


def _tag(name: str, loss: str) -> str:
    return name if name.startswith(GENERAL) or not loss else f"{loss}/{name}"


def _range_of_weights(weights: np.ndarray) -> tuple[float, float]:
    """Smallest and largest value off the diagonal; on it class weights are always zero."""
    pairs = weights[~np.eye(len(weights), dtype=bool)]
    return float(pairs.min()), float(pairs.max())
