"""Hydra's `-m` goes through lossbench's own sweep: all runs in one list, several at a time, and no files of Hydra's."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import product

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep, ValueType
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
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


class LossbenchSweeper(Sweeper):
    """Every combination of the values in a command line; all are composed before the task is called with their list.

    So a wrong one is refused before any starts. No launcher and no folder of Hydra's is needed.
    """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra says of the sweep."""
        self._loader, self._task, self._config = hydra_context.config_loader, task_function, config

    def sweep(self, arguments: list[str]) -> None:
        """Compose all jobs and hand them to the task.

        Raises:
            HydraException: one of them cannot be composed.
        """
        parser = OverridesParser.create(config_loader=self._loader)
        values = {}
        for override in map(_decimal, parser.parse_overrides(list(map(_single, arguments)))):
            values[override.get_key_element()] = list(_strings(override))
        keys = [[f"{key}={value}" for value in given] for key, given in values.items()]
        jobs = [self._loader.load_sweep_config(self._config, list(job)) for job in product(*keys)]
        for job in jobs:
            with open_dict(job):
                del job["hydra"]
        self._task(jobs)


def _strings(override: Override) -> Iterable[str]:
    """The values of an override as they are written on a command line."""
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    if not override.is_discrete_sweep():
        raise HydraException(f"{override.input_line} has no values to go over one by one; name them, or use range(...)")
    return override.sweep_string_iterator()


node = {"_target_": f"{LossbenchSweeper.__module__}.{LossbenchSweeper.__name__}"}
ConfigStore.instance().store(group="hydra/sweeper", name="lossbench", node=node, provider="lossbench")
