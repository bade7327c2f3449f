"""Packs the packages and data that a machine without network needs, for borrowed.py.

    python tools/carry.py [--data-dir DIR] [--limit-mb 64]

writes `carry/` in a few minutes: `site`, pure Python packages that such machines lack; `lot1`, `lot2`, ..., the
published data files, compressed, in lots that can be copied one by one; `lots.json`, which lot has which file;
`commit`. The repository, `site` and a lot are copied together and must be smaller than the limit. The first lot has all
MNIST-type data; in the published gzip files they would need two.
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
ORDER = ("fmnist", "kmnist", "mnist", "cifar10")  # the first lot is enough for the runs of CNN5C
ROOT = Path(__file__).parents[1]
CARRY = ROOT / "carry"
SPARE = 2**20  # for everything else that is copied, such as names
LEAST_SPACE = 40 * 2**20  # the largest file takes 30


def main() -> None:
    """Pack, and print what to copy with each call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=os.environ.get("LOSSBENCH_DATA"), help="default: LOSSBENCH_DATA, data/")
    parser.add_argument(
        "--limit-mb", type=float, default=64, help="most that can be copied with a call, MB of 2^20 bytes"
    )
    chosen = parser.parse_args()
    code = commit() or ""
    if code.endswith("-dirty"):
        raise SystemExit("files differ from the commit, which records would keep; commit them first")
    shutil.rmtree(CARRY, ignore_errors=True)
    CARRY.mkdir()
    for name in PACKAGES:
        copy_package(name, CARRY / "site")
    space = left_for_a_lot(ROOT, CARRY / "site", int(2**20 * chosen.limit_mb))
    lots = pack(data_dir(Runtime(data_dir=chosen.data_dir)), CARRY, space)
    (CARRY / "lots.json").write_text(json.dumps(lots, indent=1))
    (CARRY / "commit").write_text(code)
    print(f"copy carry/site and carry/commit with every call, and one of {max(lots.values())} lots per call")


def left_for_a_lot(root: Path, site: Path, limit: int) -> int:
    """Bytes left for a lot besides the repository's files and the packages.

    Raises:
        SystemExit: too few are left.
    """
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout
    tracked = [path for name in listed.split(b"\0") if name and (path := root / os.fsdecode(name)).exists()]
    tree = sum(path.stat().st_size for path in tracked)
    packages = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    space = limit - tree - packages - SPARE
    if space < LEAST_SPACE:
        raise SystemExit(
            f"of {limit / 2**20:.0f} MB the repository takes {tree / 2**20:.0f}, which leaves too little for a lot of "
            "data; `git sparse-checkout set --no-cone '/*' '!/results/arrays/'` leaves out arrays that no run needs, "
            "and `git sparse-checkout disable` brings them back"
        )
    return space


def copy_package(name: str, site: Path) -> None:
    """Copy the files of an installed package, except those outside its folder, such as scripts."""
    for file in distribution(name).files or []:
        if ".." not in file.parts and file.suffix != ".pyc":
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(file.locate()), target)


def pack(data: Path, carry: Path, limit: int) -> dict[str, int]:
    """Compress the published files into lots of at most `limit` bytes; returns each file's lot.

    Raises:
        SystemExit: a file is missing.
    """
    lots: dict[str, int] = {}
    filled: list[int] = []
    for source in (SOURCES[name] for name in ORDER):
        for name in source.digests:
            path = data / source.folder / name
            packed = path.with_name(f"{name}.gz")
            if not path.exists() and not packed.exists():
                raise SystemExit(
                    f"{path} is missing; train with this data set to download it, or give another --data-dir"
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
