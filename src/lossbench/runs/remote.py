"""Runs on another machine, copied with rsync over ssh into a staging folder."""

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from lossbench.runs.checks import FILE_LIMIT, TEXT_LIMIT

STAGING = "collect"
"""Folder below the output folder with a folder for each source, which makes a repeated copy short."""

RESULTS_FIRST = ("config.json", "result.json", "diverged.json", "failure.txt")
"""Files that are copied of every run, to know which runs there are and how they ended."""

CONNECT_S = 20
"""Time that ssh waits for a host, unless RSYNC_RSH says otherwise."""


@dataclass(frozen=True)
class Remote:
    """An output folder on a host.

    Args:
        host: as ssh knows it, with a user if need be.
        folder: on the host; relative to the home folder unless it begins with "/".
    """

    host: str
    folder: str

    def __str__(self) -> str:
        return f"{self.host}:{self.folder}"


def remote_of(source: str) -> Remote | None:
    """The host and folder that HOST:DIR names; None: it is a folder here, also if a "/" comes before the colon.

    Raises:
        ValueError: host or folder is missing, or the host begins with a hyphen, which ssh would take for an option.
    """
    host, colon, folder = source.partition(":")
    if not colon or "/" in host:
        return None
    if not host or not folder or host.startswith("-") or folder.startswith(":") or source.startswith("rsync://"):
        raise ValueError(
            f"{source} is no HOST:DIR such as user@server:lossbench/outputs; ./{source} is a folder of that name here"
        )
    return Remote(host, folder.rstrip("/") or "/")


@contextmanager
def staged(remote: Remote, output_dir: str | Path) -> Iterator[Path]:
    """A folder with configs and results of all runs below a remote output folder, in runs/ as there.

    Raises:
        ValueError: rsync or ssh is missing, the host cannot be reached, or the folder does not exist.
    """
    _check_programs()
    digest = hashlib.sha256(str(remote).encode()).hexdigest()[:12]
    name = re.sub(r"[^\w.-]", "_", remote.host)
    place = Path(output_dir) / STAGING / f"{name}-{digest}"
    (place / "runs").mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".lock"):
        wanted = ["--include=/*/", *(f"--include=/*/{name}" for name in RESULTS_FIRST), "--exclude=*"]
        options = ["--recursive", "--compress", "--prune-empty-dirs", "--delete", "--delete-excluded"]
        try:
            _rsync(remote, [*options, *wanted, f"--max-size={TEXT_LIMIT}"], place)
        except ValueError:
            _remove_if_empty(place)
            raise
        yield place


def _remove_if_empty(place: Path) -> None:
    with contextlib.suppress(OSError):
        (place / "runs").rmdir()
        (place / ".lock").unlink()
        place.rmdir()
        place.parent.rmdir()
        place.parent.parent.rmdir()


def fetch(remote: Remote, place: Path, files: Iterable[str]) -> None:
    """Copy some files, named relative to runs/, into the folder that `staged` gave; missing ones are left out.

    Raises:
        ValueError: the host cannot be reached any more.
    """
    names = list(files)
    if names:
        _rsync(remote, ["--files-from=-", f"--max-size={FILE_LIMIT}"], place, "\n".join(names), may_lack=True)


def _check_programs() -> None:
    shell = shlex.split(os.environ.get("RSYNC_RSH", "")) or ["ssh"]
    for program in ("rsync", shell[0]):
        if shutil.which(program) is None:
            raise ValueError(
                f"{program} is not installed here; runs of another host are copied with rsync over ssh: install it, or "
                "move them with `lossbench export` and `lossbench import`"
            )


def _rsync(remote: Remote, options: Sequence[str], place: Path, names: str = "", may_lack: bool = False) -> None:
    plain = re.fullmatch(r"[\w./~@%+=-]+", remote.folder, re.ASCII)
    command = ["rsync", "--times", "--no-links", *([] if plain else ["--protect-args"]), *options]
    command += ["--", f"{remote.host}:{remote.folder}/runs/", f"{place}/runs/"]
    environment = {"RSYNC_RSH": f"ssh -o ConnectTimeout={CONNECT_S}"} | os.environ
    done = subprocess.run(
        command, input=names.encode(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, check=False
    )
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode and not (may_lack and done.returncode in (23, 24)) and done.returncode != 24:
        raise ValueError(_why(remote, done.returncode, said))


def _why(remote: Remote, code: int, said: Sequence[str]) -> str:
    """A sentence on a failure of rsync, from its exit code and what it printed."""
    text = "\n".join(said)
    if re.search(r"(change_dir|link_stat) .*failed: No such file", text):
        missing = f"there is no folder {remote.folder}/runs on {remote.host}"
        return f"{remote}: {missing}; name the folder that has runs/ in it"
    if code == 127 or re.search("rsync: (command )?not found", text):
        return f"{remote}: rsync is not installed on {remote.host}; install it there"
    others = [line for line in said if not line.startswith("rsync")]
    first = (others or said or ["it said nothing"])[0]
    if code in (12, 255):
        return f"{remote}: {remote.host} cannot be reached ({first:.200}); try `ssh {remote.host}`"
    return f"{remote}: rsync failed with exit code {code} ({first:.200})"
