"""Folders of measurements: results of a study that are not training runs, each computed once.

A measurement is a folder `<output_dir>/measurements/<id>/`. It is done if its `result.json` is complete, which is
written last. Committed ones lie in `results/measurements/`.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lossbench.config.run import canonical
from lossbench.runs import lease
from lossbench.runs.folder import to_json
from lossbench.system.files import read_file, remove_leftovers, write_bytes

_WORD = re.compile(r"[a-z0-9_]+")


@dataclass(frozen=True)
class Identity:
    """The identity of a measurement: everything that can change its result.

    Args:
        study: the study's name.
        name: what is measured; lower-case letters, digits and "_".
        parameters: what it depends on, as plain JSON; keys that are None are left out, 1 becomes 1.0.
        version: increased when the measuring code gives different numbers.

    Raises:
        ValueError: a name has other characters, or a parameter is no plain JSON.
    """

    study: str
    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1

    def __post_init__(self) -> None:
        for word in (self.study, self.name):
            if not _WORD.fullmatch(word):
                raise ValueError(f"a measurement's name must be of a-z, 0-9 and _, got {word!r}")
        try:
            json.dumps(self.parameters, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"the parameters of measurement {self.name} of {self.study} must be plain JSON ({error}), got "
                f"{self.parameters!r}"
            ) from None

    def fields(self) -> dict[str, Any]:
        """The identity in the form that is hashed and written."""
        own = {"study": self.study, "name": self.name, "parameters": self.parameters, "version": self.version}
        return {key: canonical(value) for key, value in own.items()}

    @property
    def id(self) -> str:
        """Name of the measurement's folder: readable words and a hash of the identity."""
        digest = hashlib.sha256(json.dumps(self.fields(), sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.study}-{self.name}-{digest}"


def folder_of(identity: Identity, place: str | Path) -> Path:
    """The measurement's folder below `place`, an `output_dir` or `results_dir`; it is not created."""
    return Path(place) / "measurements" / identity.id


def read(identity: Identity, place: str | Path) -> dict[str, Any] | None:
    """The result of a measurement below `place`, an `output_dir` or `results_dir`; None if it is not done.

    Raises:
        ValueError: the file is damaged, or belongs to another measurement.
    """
    path = folder_of(identity, place) / "result.json"
    try:
        content = read_file(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); remove it to measure again") from error
    try:
        known = json.loads(content)
        own, result = known["measurement"], known["result"]
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged; remove it to measure again") from error
    if own != identity.fields() or not isinstance(result, dict):
        raise ValueError(f"{path} is not the result of {identity.id}; remove it to measure again")
    return result


@contextmanager
def held(identity: Identity, place: str | Path) -> Iterator[bool]:
    """Own the measurement in the block; yields False if another process does. It ends with the process."""
    folder = folder_of(identity, place)
    with lease.held(folder) as mine:
        if mine is not None:
            remove_leftovers(folder)
        yield mine is not None


def write(identity: Identity, place: str | Path, result: Mapping[str, Any]) -> dict[str, Any]:
    """Write a result atomically; returns it as `read` will return it.

    Raises:
        ValueError: the result is no plain JSON; nothing is written.
    """
    try:
        json.dumps(result, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the result of {identity.id} is no plain JSON ({error})") from error
    folder = folder_of(identity, place)
    write_bytes(folder / "result.json", to_json({"measurement": identity.fields(), "result": dict(result)}, 1) + b"\n")
    (folder / "failure.txt").unlink(missing_ok=True)
    return dict(json.loads(to_json(dict(result))))


def fail(identity: Identity, place: str | Path, reason: str) -> None:
    """Write why a measurement failed, a traceback."""
    write_bytes(folder_of(identity, place) / "failure.txt", reason.encode(errors="backslashreplace"))
