"""The wheel: what is in it, and what its commands do in a folder that is not the clone, and has a space in its name."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from lossbench import __version__
from lossbench.studies.aaai20.keys import CNN2C, LITERAL
from lossbench.studies.aaai20.sections.first_screen import sentences
from lossbench.studies.aaai20.verdicts import Judge

ROOT = Path(__file__).parents[1]
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
MOST_BYTES = 5_000_000

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(UV is None, reason="there is no uv to build with"),
    pytest.mark.skipif(not (ROOT / "results").is_dir(), reason="the committed records are not here"),
]


def uv(*words: str | Path) -> None:
    done = subprocess.run([str(UV), *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def names_of(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a wheel is built from, with arrays, and with a module that an earlier build has left."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for path in (ROOT / "results").rglob("*.json*"):
        target = copy / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (copy / "results" / "arrays").mkdir()
    (copy / "results" / "arrays" / "some-run.npz").write_bytes(b"arrays")
    (copy / "build" / "lib" / "lossbench").mkdir(parents=True)
    (copy / "build" / "lib" / "lossbench" / "gone.py").write_text("left by an earlier build\n")
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the files of the clone."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--offline", "--no-build-isolation", "--python", sys.executable, "--wheel", "-o", folder, source)
    (found,) = folder.glob("*.whl")
    return found


class Installed(NamedTuple):
    """A wheel installed elsewhere, and the folder in which its commands are given."""

    site: Path
    here: Path

    def start(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """`lossbench WORDS` by the wheel's own program, without the clone on the path."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("LOSSBENCH", "HYDRA", "PYTHON"))}
        packages = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
        path = os.pathsep.join([str(self.site), *packages])  # .pth files, as of an editable install, are not read there
        environment = kept | {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
        program = [getattr(sys, "_base_executable", sys.executable), "-s", *words]
        return subprocess.run(program, cwd=self.here, env=environment, capture_output=True, text=True)

    def says(self, *words: str, code: int = 0) -> str:
        done = self.start(str(self.site / "bin" / "lossbench"), *words)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stderr


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    site, here = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("some where")
    uv("pip", "install", "--offline", "--python", sys.executable, "--no-deps", "--target", site, wheel)
    return Installed(site, here)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_has_conf_and_the_records_as_they_are_and_no_arrays(wheel: Path) -> None:
    names = names_of(wheel)
    copied = [*(ROOT / "conf").rglob("*.yaml"), *(ROOT / "results").rglob("*.json*")]
    assert {"conf/base.yaml", "results/records.jsonl", "results/failures.jsonl", "results/simulations.json"} <= {
        str(path.relative_to(ROOT)) for path in copied
    }
    with zipfile.ZipFile(wheel) as file:
        for path in copied:
            assert file.read(f"lossbench/{path.relative_to(ROOT)}") == path.read_bytes(), path
    inside = {name for name in names if name.startswith(("lossbench/conf/", "lossbench/results/"))}
    assert inside == {f"lossbench/{path.relative_to(ROOT)}" for path in copied}
    assert [name for name in names if name.endswith(".npz")] == ["lossbench/data/labels.npz"]
    assert wheel.stat().st_size < MOST_BYTES


def test_it_has_every_module_and_nothing_else(wheel: Path) -> None:
    sources = ROOT / "src"
    wanted = {
        str(path.relative_to(sources))
        for path in sources.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and ".egg-info" not in str(path)
    }
    assert "hydra_plugins/lossbench_plugin.py" in wanted
    others = (f"lossbench-{__version__}.dist-info/", "lossbench/conf/", "lossbench/results/")
    assert {name for name in names_of(wheel) if not name.startswith(others)} == wanted


def test_the_wheel_of_the_source_distribution_is_the_same(source: Path, wheel: Path, tmp_path: Path) -> None:
    uv(
        "build", "--offline", "--no-build-isolation", "--python", sys.executable, "-o", tmp_path, source
    )  # the second is built from the first
    (other,) = tmp_path.glob("*.whl")
    assert names_of(other) == names_of(wheel)
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(other) as two:
        assert [name for name in names_of(wheel) if one.read(name) != two.read(name)] == []


def test_it_is_the_wheel_that_runs(installed: Installed) -> None:
    code = (
        "import lossbench, hydra_plugins.lossbench_plugin as plugin; print(lossbench.__file__); print(plugin.__file__)"
    )
    places = installed.start("-c", code).stdout.splitlines()
    assert len(places) == 2
    assert all(place.startswith(f"{installed.site}/") for place in places)
    assert " " in installed.here.name
    assert installed.says("--version") == f"lossbench {__version__}\n"


def test_it_trains(installed: Installed) -> None:
    short = ("dataset=digits", "schedule.epochs=1", "dataset.num_train=64", "runtime.device=cpu")
    said = installed.says("train", "loss=sml", *short)
    folder = installed.here / said.splitlines()[-1].removeprefix("files: ")
    record = json.loads((folder / "result.json").read_text())
    assert (folder.parent.parent, record["commit"]) == (installed.here / "outputs", None)
    assert "2 finished, 1 were done before, 0 failed" in installed.says("train", "-m", "loss=sml,lgl,lgl_inr", *short)
    assert installed.says("runs").count(" finished ") == 3
    assert "lossbench train --cfg job shows every option" in installed.says("train", "lr=3", code=1)


def test_it_reproduces_the_tables_in_short_and_leaves_its_own_files_alone(installed: Installed) -> None:
    before = contents(installed.site)
    said = installed.says("reproduce", "profile=quick", "tables=[5]", "seeds=1", "runtime.device=cpu")
    assert "runs: 3 finished, 0 were done before, 0 failed" in said
    assert (installed.here / "outputs" / "report" / "quick" / "table5.md").read_text() in said
    assert "make " not in said
    assert contents(installed.site) == before


def test_its_report_shows_the_papers_tables_from_its_own_records(installed: Installed, committed: Judge) -> None:
    before = contents(installed.site)
    assert installed.says("report", "profile=paper").splitlines()[0] == "tables and figures: outputs/report/paper"
    folder = installed.here / "outputs" / "report" / "paper"
    text = (folder / "report.md").read_text()
    assert sentences(committed, [one for one in committed.cells() if one.key.model != LITERAL])[1] in text
    table = (folder / "table3.md").read_text()
    means = [
        f"{100 * one.last.mean:.2f} ± "
        for one in committed.cells()
        if one.key.model == CNN2C and one.key.loss.option is None
    ]
    assert len(means) == 9
    assert [mean for mean in means if mean not in table] == []
    assert "records without arrays" in text
    assert "results/arrays/ of a clone of lossbench" in text
    assert '"Figure 1: classes"' in text
    assert "\n## Figure 1: classes" not in text
    assert text.count("the runs' arrays are not here") == 6
    assert ".npz is missing" not in text
    assert "with arrays yet" not in text
    assert not (folder / "figure1.png").exists()
    assert (folder / "figure2.png").exists()
    assert contents(installed.site) == before


def test_nothing_is_written_to_its_own_records(installed: Installed) -> None:
    own, before = installed.site / "lossbench" / "results", contents(installed.site)
    for words in (("publish", str(own)), ("prune", str(own)), ("simulate", "--publish"), ("reference",)):
        said = installed.says(*words, code=1)
        assert "must be a folder of yours" in said
        assert "belongs to the installed lossbench" in said
    assert contents(installed.site) == before
    assert installed.says("publish", "results").endswith("records added to results\n")
    assert "core-hours" in installed.says("reference", "dry=true", "runtime.device=cpu").splitlines()[-1]


def test_its_records_are_whole_though_their_arrays_are_elsewhere(installed: Installed) -> None:
    lines = (ROOT / "results" / "records.jsonl").read_text().splitlines()
    name = json.loads(lines[0])["run_id"]
    assert installed.says("verify").endswith(", all intact\n")
    assert installed.says("show", name).rstrip().endswith("results/arrays/ of a clone of lossbench")
    assert installed.says("runs", "--committed").count("  committed\n") >= len(lines)
