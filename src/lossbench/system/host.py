"""The host and its processes: what identifies them to other hosts, and whether a process is still alive."""

import os
import secrets
import socket
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Life(StrEnum):
    """What is known of a process."""

    alive = "alive"  # it runs, and is the same process
    dead = "dead"
    unknown = "unknown"  # it belongs to another host, or its number may have been given to another process


@dataclass(frozen=True)
class Process:
    """A process, as seen from anywhere.

    Args:
        host: name of the host.
        machine: random name that the host has kept in memory since it started; empty: unknown.
        boot: the kernel's name for this start of the host; empty: unknown.
        namespace: the namespace of process numbers, which containers have of their own; empty: unknown.
        number: the process's number.
        started: ticks from the host's start to the process's; None: unknown.
    """

    host: str
    machine: str
    boot: str
    namespace: str
    number: int
    started: int | None

    def life(self) -> Life:
        """Whether the process is alive, as far as it can be determined from here."""
        here = this_process()
        if not self.machine or self.place() != here.place():
            return Life.unknown
        try:
            os.kill(self.number, 0)
        except ProcessLookupError:
            return Life.dead
        except (OSError, OverflowError, ValueError):  # another user's
            pass
        found = _state(self.number) if here.started is not None else None
        if found is None or self.started is None:
            return Life.unknown
        started, is_dead = found
        return Life.dead if is_dead or started != self.started else Life.alive

    def place(self) -> tuple[str, ...]:
        """Where the process's number is valid."""
        return self.host, self.machine, self.boot, self.namespace


def this_process() -> Process:
    """The process that calls this."""
    own = _state(os.getpid()) if _link("/proc/self") == str(os.getpid()) else None  # else /proc shows another namespace
    return Process(
        host=socket.gethostname(),
        machine=_machine(),
        boot=_text("/proc/sys/kernel/random/boot_id"),
        namespace=_link("/proc/self/ns/pid"),
        number=os.getpid(),
        started=own[0] if own else None,
    )


def _state(number: int) -> tuple[int, bool] | None:
    """Ticks to the start of a process, and whether it has ended but was not waited for; None: unknown."""
    fields = _text(f"/proc/{number}/stat").rpartition(") ")[2].split()  # after the program's name
    if len(fields) < 20:
        return None
    return int(fields[19]), fields[0] in "ZX" and int(fields[17]) <= 1  # a last thread may still write


def _machine() -> str:
    """A random name in memory or the folder of temporary files, which copies of a virtual machine do not share.

    The kernel's own name of its start is no substitute: machines started from the same snapshot have the same.
    """
    memory = Path("/dev/shm")
    path = (memory if memory.is_dir() else Path(tempfile.gettempdir())) / f"lossbench-host-{os.getuid()}"
    found = _text(path)
    if not found:
        own = path.with_name(f"{path.name}-{secrets.token_hex(8)}")
        try:
            own.write_text(secrets.token_hex(16))
            os.link(own, path)  # whole at once
        except OSError:  # another process was faster, or nothing can be written
            pass
        finally:
            own.unlink(missing_ok=True)
        found = _text(path)
    return found


def _text(path: str | Path) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read(4096).strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
