"""Weights of finished runs on disk, checked by the digest in the record. What is in the file is read in `training`."""

import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lossbench.runs.checks import FILE_LIMIT, content_of
from lossbench.runs.folder import WEIGHTS
from lossbench.system.files import sha256_of


def read_weights(folder: Path, fields: Mapping[str, Any]) -> bytes:
    """The content of a run's `weights.safetensors`, which is what the run wrote.

    Args:
        folder: of the run.
        fields: its record.

    Raises:
        ValueError: the run kept no weights, they are not in its folder, or the file is not the one that it wrote.
    """
    name, path = fields["run_id"], folder / WEIGHTS
    if "weights" not in fields:
        raise ValueError(f"{name} has no weights; to get them, {how_to_save([name], _output_dir(folder))}")
    if not os.path.lexists(path):
        raise ValueError(
            f"the weights of {name} are not in {folder}; bring them with `lossbench export --weights` and "
            f"`lossbench import`, or {how_to_save([name], _output_dir(folder))}"
        )
    content = content_of(path, FILE_LIMIT)
    check_weights(path, fields, len(content), hashlib.sha256(content).hexdigest())
    return content


def how_to_save(names: Sequence[str], output_dir: Path) -> str:
    """How finished runs get weights, as the end of a sentence.

    Args:
        names: of the runs.
        output_dir: where runs/ is.
    """
    place = "" if str(output_dir) == "outputs" else f" --output-dir {shlex.quote(str(output_dir))}"
    which = "them" if len(names) > 1 else "it"
    return (
        f"remove {which} (`lossbench remove {' '.join(names)}{place} --yes`) and train {which} again with "
        "runtime.save_weights=true"
    )


def _output_dir(folder: Path) -> Path:
    """Where runs/ is, of the folder of a run."""
    return (folder if len(folder.parts) > 2 else folder.absolute()).parent.parent


def check_weights(path: Path, fields: Mapping[str, Any], size: int, sha256: str) -> None:
    """Raise a ValueError unless a file of weights is the one that a record describes.

    Args:
        path: of the file.
        fields: the record.
        size: of the file, in bytes.
        sha256: of the file, in hexadecimal.
    """
    name, known = fields["run_id"], fields.get("weights")
    if known is None:
        raise ValueError(f"{path} is no part of {name}, whose record has no weights; remove the file")
    if size != known["bytes"]:
        raise ValueError(f"{path} has {size} bytes, and {name} wrote {known['bytes']}; remove or restore the file")
    if sha256 != known["sha256"]:
        raise ValueError(
            f"{path} is not what {name} wrote: its SHA-256 is {sha256[:12]}..., and {known['sha256'][:12]}... in the "
            "record; remove or restore the file"
        )


def weights_problems(folder: Path, fields: Mapping[str, Any]) -> list[str]:
    """What is wrong with the weights in the folder of a finished run; nothing where none are there.

    Args:
        folder: of the run.
        fields: its record.
    """
    path = folder / WEIGHTS
    if not os.path.lexists(path):
        return []  # the run was imported without them, or keeps none
    try:
        check_weights(path, fields, path.stat().st_size, sha256_of(path))
    except OSError as error:
        return [f"{path} cannot be read ({error.strerror}); restore it, or remove it"]
    except ValueError as error:
        return [str(error)]
    except (LookupError, TypeError):
        return []  # the record is damaged, which its reader reports
    return []
