"""The packages and data that a machine without network lacks, packed for the way.

    python tools/carry.py [--data-dir DIR] [--limit-mb 64]

writes `carry/` in a few minutes: `site`, the pure Python packages that such machines lack; `lot1`, `lot2`, ..., the
published data files, compressed, in lots that can travel one by one; `lots.json`, which lot has which file; `commit`.
borrowed.py takes them. The repository, `site` and a lot travel together and must be smaller than the limit. The first
lot has all of MNIST's type; gzipped, as they are published, those files would need two.
"""

import argparse
import gzip
import json
import lzma
import os
import shutil
import subprocess
from importlib.metadata import distribution
from pathlib import Path

from lossbench.config.run import Runtime
from lossbench.data.published import SOURCES, data_dir
from lossbench.system.machine import commit

PACKAGES = ("hydra-core", "omegaconf", "antlr4-python3-runtime")
ORDER = ("fmnist", "kmnist", "mnist", "cifar10")  # a short lease does the runs of CNN5C with the first lot alone
ROOT = Path(__file__).parents[1]
CARRY = ROOT / "carry"
SPARE = 2**20  # for what else travels, such as names
LEAST_ROOM = 40 * 2**20  # the largest file takes 30


def main() -> None:
    """Pack, and say what travels with which call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=os.environ.get("LOSSBENCH_DATA"), help="default: LOSSBENCH_DATA, data/")
    parser.add_argument(
        "--limit-mb", type=float, default=64, help="the most that travels with a call, MB of 2^20 bytes"
    )
    chosen = parser.parse_args()
    code = commit() or ""
    if code.endswith("-dirty"):
        raise SystemExit("files differ from the commit, and records would say so for good; commit them first")
    shutil.rmtree(CARRY, ignore_errors=True)
    CARRY.mkdir()
    for name in PACKAGES:
        copy_package(name, CARRY / "site")
    room = left_for_a_lot(ROOT, CARRY / "site", int(2**20 * chosen.limit_mb))
    lots = pack(data_dir(Runtime(data_dir=chosen.data_dir)), CARRY, room)
    (CARRY / "lots.json").write_text(json.dumps(lots, indent=1))
    (CARRY / "commit").write_text(code)
    print(f"carry/site and carry/commit with every call; lots, one a call: {max(lots.values())}")


def left_for_a_lot(root: Path, site: Path, limit: int) -> int:
    """Bytes that a lot may have beside the files of the repository that are there, and the packages.

    Raises:
        SystemExit: too few.
    """
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout
    tracked = [path for name in listed.split(b"\0") if name and (path := root / os.fsdecode(name)).exists()]
    tree = sum(path.stat().st_size for path in tracked)
    packages = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    room = limit - tree - packages - SPARE
    if room < LEAST_ROOM:
        raise SystemExit(
            f"of {limit / 2**20:.0f} MB the repository takes {tree / 2**20:.0f}, which leaves a lot of data no room; "
            "`git sparse-checkout set --no-cone '/*' '!/results/arrays/'` leaves arrays out that no run needs, and "
            "`git sparse-checkout disable` brings them back"
        )
    return room


def copy_package(name: str, site: Path) -> None:
    """The files of an installed package, as they are; those that lie elsewhere, such as scripts, stay behind."""
    for file in distribution(name).files or []:
        if ".." not in file.parts and file.suffix != ".pyc":
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(file.locate()), target)


def pack(data: Path, carry: Path, limit: int) -> dict[str, int]:
    """Compress the published files into lots of at most `limit` bytes; returns each file's lot.

    Raises:
        SystemExit: a file is not there.
    """
    lots: dict[str, int] = {}
    filled: list[int] = []
    for source in (SOURCES[name] for name in ORDER):
        for name in source.digests:
            path = data / source.folder / name
            packed = path.with_name(f"{name}.gz")
            if not path.exists() and not packed.exists():
                raise SystemExit(
                    f"{path} is not there; a run with this data set fetches it, or --data-dir names another"
                )
            content = lzma.compress(gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes())
            number = next((n for n, size in enumerate(filled, 1) if size + len(content) <= limit), len(filled) + 1)
            filled += [0] * (number - len(filled))
            filled[number - 1] += len(content)
            relative = f"{source.folder}/{name}"
            lots[relative] = number
            target = carry / f"lot{number}" / f"{relative}.xz"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return lots


if __name__ == "__main__":
    main()
