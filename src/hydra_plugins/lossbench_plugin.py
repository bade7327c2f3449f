"""Hydra's `-m` goes through lossbench's own sweep: all runs in one list, several at a time, and no files of Hydra's."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep, ValueType
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from lossbench.cli.overrides import ONE


def _single(text: str) -> str:
    """An override as it was given, where it was made a sweep of one value."""
    key, made, value = text.partition(ONE[0])
    return f"{key}={value.removesuffix(ONE[1])}" if made else text


def _decimal(override: Override) -> Override:
    """A range of decimal numbers as the numbers that are meant: 0.3, where a sum of floats is 0.30000000000000004."""
    given = override.value()
    if not isinstance(given, RangeSweep) or given.start is None or given.stop is None:
        return override
    ends = (given.start, given.stop, given.step)
    if all(isinstance(number, int) for number in ends) or given.step == 0:
        return override  # whole numbers are exact, and a step of 0 is refused by Hydra
    numbers = list(_numbers(*(Decimal(f"{number:.15g}") for number in ends)))
    return replace(
        override,
        value_type=ValueType.CHOICE_SWEEP,
        _value=ChoiceSweep(list=[float(number) for number in numbers], shuffle=given.shuffle),
    )


def _numbers(start: Decimal, stop: Decimal, step: Decimal) -> Iterator[Decimal]:
    """From `start` in steps, without `stop`."""
    place, up = 0, step > 0
    while start + place * step < stop if up else start + place * step > stop:
        yield start + place * step
        place += 1


class LossbenchSweeper(BasicSweeper):
    """Hydra's own expansion of comma lists, without the multirun.yaml that it leaves behind."""

    def sweep(self, arguments: list[str]) -> Any:
        """Hand every combination to the launcher at once."""
        assert self.hydra_context is not None
        assert self.launcher is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = [_decimal(override) for override in parser.parse_overrides(list(map(_single, arguments)))]
        (jobs,) = self.split_arguments(overrides, None)
        return self.launcher.launch(jobs, initial_job_idx=0)


class LossbenchLauncher(Launcher):
    """Composes all jobs first, so that a bad one is refused before any starts, and hands them to the task as a list."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra says of the sweep."""
        self._loader, self._task, self._config = hydra_context.config_loader, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Do all jobs."""
        jobs = [self._loader.load_sweep_config(self._config, list(overrides)) for overrides in job_overrides]
        for job in jobs:
            with open_dict(job):
                del job["hydra"]
        self._task(jobs)
        return []


store = ConfigStore.instance()
for group, plugin in (("sweeper", LossbenchSweeper), ("launcher", LossbenchLauncher)):
    node: dict[str, Any] = {"_target_": f"{plugin.__module__}.{plugin.__name__}"}
    if group == "sweeper":
        node["max_batch_size"] = None
    store.store(group=f"hydra/{group}", name="lossbench", node=node, provider="lossbench")
