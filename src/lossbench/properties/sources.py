"""The loss that `FILE:NAME` or a registered name stands for, with its options."""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

from lossbench.config.options import LossConfig, TrainingClasses
from lossbench.config.plugins import load_file
from lossbench.config.registry import LOSSES
from lossbench.losses.weighting import weights_by_size

LARGEST_CLASS = 1000
"""Training samples of the first class, ten times those of the last, for losses that use class sizes."""


def find_loss(source: str, options: Mapping[str, str]) -> tuple[str, Callable[..., Any]]:
    """Name and function of a loss.

    Args:
        source: FILE.py:NAME of a function, of a subclass of `LossConfig` or `torch.nn.Module`, or of a loss that the
            file registers; or a registered name.
        options: of the loss, as text, by name.

    Raises:
        ValueError: there is no such loss, or it does not take the options.
    """
    file, colon, name = source.rpartition(":")
    if not colon and source.endswith(".py"):
        file, name = source, ""
    if not file:
        return source, _of_config(_registered(source), options)
    if not Path(file).expanduser().is_file():
        raise ValueError(f"there is no file {file}")
    module = load_file(file)
    defined = _losses_in(module)
    if not name:
        if len(defined) != 1:
            raise ValueError(f"{file} has {_listed(defined)}; name one, as {file}:NAME")
        name = next(iter(defined))
    registered = [one for one in vars(module).values() if _is_config(one) and one.name == name]
    found = registered[0] if registered else getattr(module, name, None)
    if found is None:
        raise ValueError(f"there is no {name} in {file}; it has {_listed(defined)}")
    return name, _built(f"{file}:{name}", found, options)


def known_losses() -> dict[str, Callable[..., Any]]:
    """The losses of lossbench itself with their default options, by name."""
    return {
        name: _of_config(facts.options, {})
        for name, facts in LOSSES.items()
        if facts.options.needs == "logits" and LOSSES.source(name) is None
    }


def _registered(name: str) -> type[LossConfig]:
    if name not in LOSSES:
        known = ", ".join(LOSSES)
        raise ValueError(f"there is no loss {name}; a function is FILE.py:NAME, and the registered losses are {known}")
    found = LOSSES[name].options
    if found.needs == "features":
        raise ValueError(f"check-loss checks functions of logits and target; {name} needs features and an output layer")
    return found


def _is_config(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, LossConfig) and found is not LossConfig


def _losses_in(module: Any) -> dict[str, Any]:
    """What a file defines that can be a loss, by name."""
    from torch import nn

    def fits(found: object) -> bool:
        if isinstance(found, type):
            return issubclass(found, nn.Module) or _is_config(found)
        return inspect.isfunction(found)

    mine = {name: found for name, found in vars(module).items() if getattr(found, "__module__", "") == module.__name__}
    return {name: found for name, found in mine.items() if fits(found) and not name.startswith("_")}


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(names) if names else "no function or class of its own"


def _built(source: str, found: Any, options: Mapping[str, str]) -> Callable[..., Any]:
    from torch import nn

    if _is_config(found):
        return _of_config(found, options)
    values = {key: _value(text) for key, text in options.items()}
    if isinstance(found, type):
        if not issubclass(found, nn.Module):
            raise ValueError(f"{source} is a class; a loss is a function, a LossConfig or a torch.nn.Module")
        try:
            module: Callable[..., Any] = found(**values)
        except Exception as error:
            raise ValueError(f"{source} cannot be made: {type(error).__name__}: {error}") from error
        return module
    if not callable(found):
        raise ValueError(f"{source} is no function of logits and target, but of type {type(found).__name__}")
    try:
        parameters = inspect.signature(found).parameters
    except (TypeError, ValueError):
        parameters = {}  # type: ignore[assignment]
    open_ended = not parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    for key in values:
        if key not in parameters and not open_ended:
            names = ", ".join(list(parameters)[2:]) or "none"
            raise ValueError(f"{source} has no option {key}; its options are {names}")
    return partial(found, **values) if values else found


def _of_config(kind: type[LossConfig], options: Mapping[str, str]) -> Callable[..., Any]:
    """The loss of options, for class sizes that fall from the first class to the last."""
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind) if field.name != "name"]
    values = {}
    for key, text in options.items():
        if key not in names:
            raise ValueError(f"{kind.name} has no option {key}; its options are {', '.join(names)}")
        values[key] = _converted(key, text, hints[key])
    if kind.needs != "logits":
        raise ValueError(f"{kind.name} is a loss of {kind.needs}; only losses of logits can be checked")
    return _Built(kind(**values))


class _Built:
    """A loss that is built anew for each number of classes."""

    def __init__(self, config: LossConfig) -> None:
        self._config = config
        self._built: dict[tuple[int, str], Callable[..., Any]] = {}

    @property
    def own_map(self) -> Callable[[Any], Any] | None:
        """The loss's map from logits to the posterior, NumPy arrays [N, K]; None: softmax, or it has none."""
        import numpy as np
        from scipy.special import expit

        if self._config.name in LOSSES and LOSSES[self._config.name].posterior == "sigmoid":
            return lambda logits: expit(logits)
        if type(self._config).probabilities is LossConfig.probabilities:
            return None

        def probabilities(logits: Any) -> Any:
            return self._config.probabilities(logits, self._counts(logits.shape[1]).double().numpy())

        return probabilities if probabilities(np.zeros((1, 2))) is not None else None

    @property
    def as_read(self) -> Callable[[Any], Any]:
        """The logits [N, K] whose order predicts, from those of the loss."""
        return self._config.as_read

    def _counts(self, num_classes: int) -> Any:
        import torch

        shares = torch.logspace(0, 1, num_classes, dtype=torch.float64).reciprocal()
        return (LARGEST_CLASS * shares).round().long()

    def __call__(self, logits: Any, target: Any) -> Any:
        place = logits.shape[1], logits.device.type
        if place not in self._built:
            counts = self._counts(place[0])
            kind = self._config.class_weights
            weights = None if kind is None else weights_by_size(counts.double(), kind).to(logits.device)
            self._built[place] = self._config.build(TrainingClasses(place[0], counts.to(logits.device), weights))
        value = self._built[place](logits, target)
        return value if self._config.scale == 1.0 else self._config.scale * value


def _value(text: str) -> Any:
    """A number, true, false or null, else the text itself."""
    try:
        return json.loads({"True": "true", "False": "false", "None": "null"}.get(text, text))
    except ValueError:
        return text


def _converted(key: str, text: str, hint: Any) -> Any:
    """Text as a value of an option's type.

    Raises:
        ValueError: it is none.
    """
    value = _value(text)
    kinds = get_args(hint) or (hint,)
    if value is None and type(None) in kinds:
        return None
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, Enum):
            return kind(text)
    if float in kinds and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if type(value) not in kinds:
        words = " or ".join("null" if kind is type(None) else getattr(kind, "__name__", str(kind)) for kind in kinds)
        raise ValueError(f"{key} must be {words}, got {text}")
    return value
