"""Hydra's `-m` goes through lossbench's own sweep: all runs in one list, several at a time, and no files of Hydra's."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import product

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep, ValueType
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

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
    """Every combination of the values in a command line; the task is called once, with the composed jobs in turn.

    A job is to be converted before the next one is taken. No launcher and no folder of Hydra's is needed.
    """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra says of the sweep."""
        self._loader, self._task, self._config = hydra_context.config_loader, task_function, config

    def sweep(self, arguments: list[str]) -> None:
        """Compose the jobs and hand them to the task.

        Raises:
            HydraException: one of them cannot be composed.
        """
        parser = OverridesParser.create(config_loader=self._loader)
        values = {}
        for override in map(_decimal, parser.parse_overrides(list(map(_single, arguments)))):
            values[override.get_key_element()] = list(_strings(override))
        keys = [[f"{key}={value}" for value in given] for key, given in values.items()]
        parsed = {text: parser.parse_override(text) for texts in keys for text in texts}
        are_plain = [self._is_plain([parsed[text] for text in texts]) for texts in keys]
        choosing = [texts if not is_plain else [""] for texts, is_plain in zip(keys, are_plain, strict=True)]
        composed = {choices: self._composed(filter(None, choices)) for choices in product(*choosing)}

        def jobs() -> Iterator[DictConfig]:
            for texts in product(*keys):
                pairs = list(zip(texts, are_plain, strict=True))
                job = composed[tuple("" if is_plain else text for text, is_plain in pairs)]
                for override in (parsed[text] for text, is_plain in pairs if is_plain):
                    OmegaConf.update(job, override.key_or_group, override.value())  # over that of the job before
                yield job

        self._task(jobs())

    def _composed(self, texts: Iterable[str]) -> DictConfig:
        job: DictConfig = self._loader.load_sweep_config(self._config, list(texts))
        with open_dict(job):
            del job["hydra"]
        return job

    def _is_plain(self, overrides: Sequence[Override]) -> bool:
        """Whether the overrides of a key give values to an option that is there, and choose no group.

        Such values are written into what Hydra composes once for the choices of the groups, as it takes long for that.
        """
        for one in overrides:
            changes = one.is_add() or one.is_force_add() or one.is_delete() or one.is_hydra_override()
            if changes or one.package is not None or isinstance(one.value(), dict):
                return False
        key = str(overrides[0].key_or_group) if overrides else ""
        return "." in key or not self._loader.get_group_options(key)


def _strings(override: Override) -> Iterable[str]:
    """The values of an override as they are written on a command line."""
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    if not override.is_discrete_sweep():
        raise HydraException(f"{override.input_line} has no values to go over one by one; name them, or use range(...)")
    return override.sweep_string_iterator()


node = {"_target_": f"{LossbenchSweeper.__module__}.{LossbenchSweeper.__name__}"}
ConfigStore.instance().store(group="hydra/sweeper", name="lossbench", node=node, provider="lossbench")
