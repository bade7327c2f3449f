"""TensorBoard events beside a run's own files; nothing reads them back."""

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
"""How the names of arrays begin that every loss may have; the others are its own."""


class NoTracker:
    """Watches nothing."""

    def epoch(self, line: Mapping[str, Any], traced: Mapping[str, Tensor]) -> None: ...

    def finish(self, config: Config, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None: ...


class TensorBoard:
    """A run's TensorBoard events, written anew from its metrics when it goes on, so that no point is there twice.

    The first epoch is trained before TensorBoard is imported. Where its files cannot be written, the run goes on
    without it.

    Args:
        folder: the run's.
        history: metrics of the epochs before.
        traces: what `tracing.trace` gave in the epochs before, epoch by epoch.
        say: called once with a sentence where the files cannot be written.
        loss: its name, under which stands what it shows of itself.
        words: the folder within the run's that the events go to, so that TensorBoard's list of runs says them behind
            the run's name; empty: they go to the run's.
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
        # Now, as both lists grow.
        self._before = [
            (line, {name: values[index] for name, values in traces.items()}) for index, line in enumerate(history)
        ]

    @contextmanager
    def _unless_unwritable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._given_up = True
            self._say(f"TensorBoard: {self._folder} takes no events ({error}); the run goes on without them")

    def _open(self) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        for old in self._folder.rglob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(str(self._events))
        for line, traced in self._before:
            self._add(line, traced)

    def epoch(self, line: Mapping[str, Any], traced: Mapping[str, Tensor]) -> None:
        """Add an epoch's points, and what `tracing.trace` gave: matrices as images, norms as points."""
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
            if accuracy is not None:  # of a class without test images
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
        if self._writer is None:  # the last epoch was done before a stop
            self._open()
        epochs = config.schedule.epochs
        if "confusion_matrix" in arrays:
            self._figure("test/confusion_matrix", arrays["confusion_matrix"], "predicted", "true class", "d", epochs)
        for name, values in arrays.items():
            if values.ndim == 3 and not name.startswith(GENERAL):  # what the loss shows, epoch by epoch
                tag = f"{config.loss.name}/final_{name}"
                self._figure(tag, values[-1], "classifier k", "class j", ".3f", epochs)
        self._writer.close()
        self._hparams(config, record)

    def _hparams(self, config: Config, record: Mapping[str, Any]) -> None:
        """The run's row of the HParams table, in a folder of its own so that the table has no other metrics.

        An option has one type in all runs, and one that is None is left out. No run declares the columns: TensorBoard
        then takes those of all runs, first the ones that vary.
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
    """The least and the greatest value off the diagonal, where class weights are all zero."""
    pairs = weights[~np.eye(len(weights), dtype=bool)]
    return float(pairs.min()), float(pairs.max())
