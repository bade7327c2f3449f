"""Leases: of the processes on all hosts that share a folder, one at a time owns it.

The folder's `.claim` has files named 1, 2, 3 and so on; whoever created the highest owns the folder, and keeps it by
creating the next in time. A number is created as a hard link, which the server grants once, so renewals and takeovers
cannot both succeed, whatever a host has cached. What an attempt reports is not trusted; the number's content decides.

An owner whose process has died is replaced at once on its own host. Elsewhere it is replaced when its number has not
changed for the time of its lease, by the observer's own clock: no time of another host or of a file is used.
"""

import contextlib
import errno
import json
import math
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from lossbench.system.files import WITHOUT_LINKS, open_file
from lossbench.system.host import Life, Process, this_process

CLAIM = ".claim"
"""The folder of numbers, within the folder that is owned."""

LEASE_S = 60.0
"""Time of a lease without the environment variable, in s."""

VARIABLE = "LOSSBENCH_LEASE_S"

KEPT = 64
"""Numbers that are kept below the highest, so that an observer with an old list of them finds the next one taken."""

LOOK_S = 0.2
"""Time between two looks at a folder that is waited for, in s."""

_LONGEST = 2**14  # bytes read of a number's content


@dataclass(frozen=True)
class Owner:
    """The content of a number."""

    token: str
    process: Process | None  # None: unknown
    lease_s: float
    released: bool = False


@dataclass
class _Seen:
    """What this process has seen of another's number."""

    number: int
    looked: float  # on this process's clock
    unchanged_s: float = 0.0


_seen: dict[Path, _Seen] = {}  # by folder
_own: set[str] = set()  # tokens of the leases that this process holds


def lease_s() -> float:
    """Time of a lease in s: LOSSBENCH_LEASE_S, else 60.

    Raises:
        ValueError: the variable is no positive number.
    """
    text = os.environ.get(VARIABLE) or str(LEASE_S)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"{VARIABLE} must be a number of seconds > 0, got {text}")
    return value


class Lease:
    """A folder that this process owns; a thread renews the lease until it is released or the process ends.

    Args:
        claim: the folder of numbers.
        number: the highest one, which belongs to nobody, or to a process that is dead or silent.
    """

    def __init__(self, claim: Path, number: int) -> None:
        self.claim, self._number = claim, number
        self._token, self._lease_s = secrets.token_hex(16), lease_s()
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._known: dict[int, float] = {}  # when each number was first seen here
        self._lost: str | None = None

    def take(self) -> bool:
        """Try to become the owner; False: another process was faster."""
        own, mine = self.claim / f".owner-{self._token}", False
        try:
            own.write_bytes(self._content(released=False))
            self._free.write_bytes(self._content(released=True))  # now, as the disk may be full at the end
            mine = self._create(own, self._number + 1)
        except FileNotFoundError:  # removed by another owner, or with the folder
            pass
        finally:
            with contextlib.suppress(OSError):
                own.unlink(missing_ok=True)
                for left in self.claim.glob(".*-*") if mine else [self._free]:  # by killed processes
                    if left != self._free or not mine:
                        left.unlink(missing_ok=True)
        if mine:
            _own.add(self._token)
            threading.Thread(target=self._renew_in_time, name="lease", daemon=True).start()
        return mine

    @property
    def _free(self) -> Path:
        return self.claim / f".free-{self._token}"

    def _content(self, released: bool) -> bytes:
        return json.dumps(asdict(Owner(self._token, this_process(), self._lease_s, released))).encode()

    def _create(self, source: Path, number: int) -> bool:
        """Create a number as a link to a file with this owner's content; False: it or a higher one is another's.

        Raises:
            OSError: it could not be created, and nobody has it; FileNotFoundError if the source is gone.
        """
        path, problem = self.claim / str(number), None
        try:
            os.link(source, path)
        except FileExistsError:
            pass
        except OSError as error:
            problem = error
        owner = read_owner(path)
        if owner is None and problem is not None and problem.errno in WITHOUT_LINKS:
            if not os.path.lexists(source):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
            problem = _write_exclusively(path, source.read_bytes())
            owner = read_owner(path)
        if owner is None and problem is not None:
            raise problem
        if owner is None or owner.token != self._token:
            return False
        numbers = numbers_of(self.claim)
        if numbers and numbers[-1] > number:  # the list from which the number was chosen was old
            path.unlink(missing_ok=True)
            return False
        self._number = number
        self._prune(numbers)
        return True

    def _prune(self, numbers: list[int]) -> None:
        """Remove numbers that no observer can still take for the highest: beyond the last ones, and a lease old."""
        now = time.monotonic()
        self._known = {number: self._known.get(number, now) for number in numbers}
        for number in numbers[:-KEPT]:
            if now - self._known[number] > self._lease_s:
                (self.claim / str(number)).unlink(missing_ok=True)

    def renew(self) -> str | None:
        """Create the next number, unless the lease has ended; returns why the lease is lost, None: it holds.

        Raises:
            OSError: the folder cannot be written at present; the lease may still hold.
        """
        with self._lock:
            if self._lost is not None or self._ended.is_set():
                return self._lost
            try:
                mine = self._create(self.claim / str(self._number), self._number + 1)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
                    raise
                mine = False
            if not mine:
                self._lost = self._why()
                _own.discard(self._token)
            return self._lost

    def _why(self) -> str:
        number, owner = highest(self.claim)
        by = f" on {ascii(owner.process.host)[1:-1]:.80}" if owner is not None and owner.process is not None else ""
        if number <= self._number:
            return f"{self.claim} was removed or replaced during the run, so another process may execute it now"
        return f"{self.claim} was taken over by a process{by}, as this one had not renewed it for {self._lease_s:g} s"

    def lost(self) -> str | None:
        """Why the lease is lost, after an attempt to renew it; None: it holds, or that cannot be determined."""
        with contextlib.suppress(OSError):
            self.renew()
        return self._lost

    def _renew_in_time(self) -> None:
        while not self._ended.wait(self._lease_s / 4) and self._lost is None:
            with contextlib.suppress(OSError):  # tried again, before every write too
                self.renew()

    def release(self) -> None:
        """Leave the folder to anyone; the last number stays, so that numbers only grow."""
        with self._lock:
            if self._ended.is_set():
                return
            self._ended.set()
            _own.discard(self._token)
            own = read_owner(self.claim / str(self._number))
            if self._lost is None and own is not None and own.token == self._token:
                with contextlib.suppress(OSError):
                    self._free.replace(self.claim / str(self._number))
                for number in sorted(self._known)[:-1]:
                    with contextlib.suppress(OSError):
                        (self.claim / str(number)).unlink()
            with contextlib.suppress(OSError):
                self._free.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the numbers and their folder, the highest last; the lease has ended."""
        with self._lock:
            self._ended.set()
            _own.discard(self._token)
            for number in numbers_of(self.claim):
                (self.claim / str(number)).unlink(missing_ok=True)
            shutil.rmtree(self.claim, ignore_errors=True)


def _write_exclusively(path: Path, content: bytes) -> OSError | None:
    """Create a file where there are no hard links; returns what went wrong. An empty one is an unknown owner's."""
    try:
        with path.open("xb") as file:
            try:
                file.write(content)
                file.flush()
            except OSError:
                path.unlink(missing_ok=True)
                raise
    except OSError as error:
        return error
    return None


def numbers_of(claim: Path) -> list[int]:
    """The numbers in a folder of them, rising."""
    try:
        names = os.listdir(claim)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal() and len(name) < 20)


def read_owner(path: Path) -> Owner | None:
    """The content of a number; None: there is no such number. An empty or damaged one has an unknown owner."""
    try:
        with open_file(path) as file:
            known = json.loads(file.read(_LONGEST))
        process, time_s = Process(**known["process"]), float(known["lease_s"])
        if not 0 < time_s < math.inf or type(process.number) is not int or process.number < 1:
            raise ValueError
        return Owner(str(known["token"]), process, time_s, known["released"] is True)
    except FileNotFoundError:
        return None
    except (OSError, KeyError, RecursionError, TypeError, ValueError):
        return Owner("", None, lease_s())


def highest(claim: Path) -> tuple[int, Owner | None]:
    """The highest number and its owner; 0 and None: there is none."""
    numbers = numbers_of(claim)
    return (numbers[-1], read_owner(claim / str(numbers[-1]))) if numbers else (0, None)


def life_of(owner: Owner) -> Life:
    """Whether an owner's process still owns the folder, as far as it can be determined from here."""
    if owner.process is None:
        return Life.unknown
    here = this_process()
    if (owner.process.place(), owner.process.number) == (here.place(), here.number) and here.machine:
        return Life.alive if owner.token in _own else Life.dead  # or of an earlier process with this number
    return owner.process.life()


def _is_free(folder: Path, number: int, owner: Owner | None) -> bool:
    """Whether a folder may be taken: nobody has it, or its owner is dead, or silent for longer than its lease."""
    if number == 0 or (owner is not None and owner.released):
        return True
    life = Life.unknown if owner is None else life_of(owner)
    if life is not Life.unknown:
        return life is Life.dead
    now, time_s = time.monotonic(), lease_s() if owner is None else owner.lease_s
    seen = _seen.setdefault(folder, _Seen(number, now))
    if number != seen.number:
        seen.number, seen.unchanged_s = number, 0.0
    else:  # of a long time without a look only a part counts, as this host may have been suspended with the owner's
        seen.unchanged_s += min(now - seen.looked, time_s / 4)
    seen.looked = now
    return seen.unchanged_s >= time_s


def take(folder: Path) -> Lease | None:
    """Become a folder's owner, if it is free; the folder is created. None: another process owns it.

    Raises:
        OSError: the folder cannot be written.
        ValueError: LOSSBENCH_LEASE_S is no positive number.
    """
    claim = folder / CLAIM
    claim.mkdir(parents=True, exist_ok=True)
    number, owner = highest(claim)
    if not _is_free(folder, number, owner):
        return None
    lease = Lease(claim, number)
    taken = lease.take()
    _seen.pop(folder, None)
    return lease if taken else None


def take_or_wait(folder: Path) -> Lease | None:
    """As `take`, but wait for an owner on another host that may be dead; at most for the time of its lease."""
    first, began = highest(folder / CLAIM)[0], time.monotonic()
    while (lease := take(folder)) is None:
        number, owner = highest(folder / CLAIM)
        time_s = lease_s() if owner is None else owner.lease_s
        if number > first or (owner is not None and life_of(owner) is Life.alive):
            return None
        if time.monotonic() - began > 1.5 * time_s + 1:
            return None
        time.sleep(min(LOOK_S, time_s / 10))
    return lease


@contextlib.contextmanager
def held(folder: Path, wait: bool = False) -> Iterator[Lease | None]:
    """Own a folder in the block; yields None if another process owns it.

    Args:
        folder: the folder, which is created.
        wait: wait as `take_or_wait` does.
    """
    lease = take_or_wait(folder) if wait else take(folder)
    try:
        yield lease
    finally:
        if lease is not None:
            lease.release()


@contextlib.contextmanager
def awaited(folder: Path) -> Iterator[None]:
    """Own a folder in the block, which begins when no other process owns it; the folder is created."""
    while (lease := take(folder)) is None:
        time.sleep(LOOK_S)
    try:
        yield
    finally:
        lease.release()


def is_held(folder: Path) -> bool:
    """Whether a process owns a folder, without writing; for display alone.

    Of an owner on another host it is assumed if the folder of numbers has changed in the last five times of its lease,
    by the clocks of both hosts.
    """
    claim = folder / CLAIM
    try:
        number, owner = highest(claim)
        changed = claim.stat().st_mtime
    except OSError:
        return False
    if number == 0 or owner is None or owner.released:
        return False
    life = life_of(owner)
    return life is Life.alive or (life is Life.unknown and abs(time.time() - changed) < 5 * owner.lease_s)
