"""Progress of a list of runs on the terminal."""

import sys
import time
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Self, cast

from lossbench.config.run import Config, run_id
from lossbench.system.screen import Lenient
from lossbench.system.spelling import spelled


class Progress:
    """Progress of a list of runs: bars on a terminal, otherwise one line for each finished run.

    Args:
        costs: floating-point operations of each run to do, by name; used to estimate the remaining time.
        parallel: number of parallel runs.
        words: what tells runs apart, by name, if their names do not.
    """

    def __init__(
        self, costs: Mapping[str, float], parallel: int, words: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars

        self._costs, self._single, self._words = costs, len(costs) == 1, words
        self._fractions = dict.fromkeys(costs, 0.0)
        self._total, self._spent = sum(costs.values()), 0.0  # summed as runs advance, not anew at every step
        self._began: dict[str, float] = {}
        self._num_done = 0
        file = cast("Any", Lenient(sys.stdout))  # no run fails because its progress cannot be shown
        console = Console(file=file, soft_wrap=True, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.fields[detail]}"))
        self._bars = Bars(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._print = self._bars.console.print
        self._tasks: dict[str, Any] = {}
        self._all = self._bars.add_task(f"{len(costs)} runs, {parallel} at a time", total=1.0, detail="")
        self._start = time.monotonic()
        self._fraction_at_start: float | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def step(self, config: Config, epoch: int, fraction: float, line: str) -> None:
        """Show the progress of a run; `line` is its log line at the end of an epoch, otherwise empty."""
        name, epochs = run_id(config), config.schedule.epochs
        self._began.setdefault(name, time.monotonic())
        self._advance(name, (epoch - 1 + fraction) / epochs)
        if self._fraction_at_start is None:  # a resumed run did part of this earlier
            self._fraction_at_start = self._fraction()
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(self._words.get(name, name), total=1.0, detail="")
        self._bars.update(self._tasks[name], completed=self._fractions[name], detail=f"epoch {epoch}/{epochs}")
        self._bars.update(self._all, completed=self._fraction(), detail=self._outlook())
        if line and self._single:
            self._print(line)

    def say_of_all(self, words: str) -> None:
        """Show words about all runs beside their bar, such as how many jobs wait."""
        self._bars.update(self._all, detail=f"{self._outlook()}; {words}")

    def done(
        self, name: str, accuracy: float | None, reason: str, is_held_out: bool = False, took_s: float | None = None
    ) -> None:
        """Show the end of a run: its accuracy, or, if that is None, the reason why it failed.

        Args:
            name: of the run.
            accuracy: after the last epoch, a fraction.
            reason: why it failed.
            is_held_out: whether the accuracy is one on held-out training samples.
            took_s: time that it took elsewhere, in s; None: since its first step that was shown.
        """
        self._num_done += 1
        self._advance(name, 1.0)
        took = time.monotonic() - self._began.get(name, time.monotonic()) if took_s is None else took_s
        said = f"{name} ({spelled(self._words[name])})" if name in self._words else name
        what = "held-out" if is_held_out else "test"
        result = f"FAILED {said}: {spelled(reason)}" if accuracy is None else f"{said}: {what} accuracy {accuracy:.4f}"
        outlook = f", {self._outlook()}" if self._num_done < len(self._costs) else ""
        self._print(f"[{self._num_done}/{len(self._costs)}] {result} after {duration(took)}{outlook}", markup=False)
        if name in self._tasks:
            self._bars.remove_task(self._tasks.pop(name))
        self._bars.update(self._all, completed=self._fraction(), detail=self._outlook())

    def _advance(self, name: str, fraction: float) -> None:
        self._spent += (fraction - self._fractions[name]) * self._costs[name]
        self._fractions[name] = fraction

    def _fraction(self) -> float:
        return self._spent / self._total

    def _outlook(self) -> str:
        before = self._fraction_at_start or 0.0
        now = self._fraction()
        if now <= before:
            return f"{self._num_done} done"
        left = (time.monotonic() - self._start) * (1 - now) / (now - before)
        return f"{self._num_done} done, about {duration(left)} left"


def duration(seconds: float) -> str:
    """A time in words, in s, min or h."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
