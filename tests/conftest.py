"""Settings and fixtures of all tests: one thread, which is fastest for small tensors and repeatable to the bit.

Property tests try the same examples every time and store none.
"""

import os
import pickle
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import looking
import pytest
import torch
import weighted_runs
from click.testing import CliRunner, Result
from hypothesis import Phase, settings
from invented import Known, all_of_cnn2c
from kinds_of_runs import Invoke, Made, make_all
from plugin_files import HELPER, MY_FOCAL
from simulated_hosts import Clock, OnHost, simulated_clock, simulated_host
from weighted_runs import make_trained

from lossbench.cli.main import lossbench
from lossbench.config import plugins
from lossbench.config.registry import DATASETS, LOSSES, MODELS
from lossbench.runs.folder import Run, open_run
from lossbench.studies.aaai20.verdicts import Judge
from lossbench.studies.results import known_results
from lossbench.studies.study import STUDIES
from lossbench.system import shipped

RESULTS = Path(__file__).parents[1] / "results"

torch.set_num_threads(1)
os.fsync = lambda file: None  # no file of a test has to outlast a power cut; thousands of flushed disks are minutes
settings.register_profile(
    "same",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=100,
    report_multiple_bugs=False,
    phases=(Phase.explicit, Phase.generate),  # add Phase.shrink to have a counterexample made small
)
settings.load_profile("same")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m long`, the files without a long test are not even read, which takes seconds."""
    if config.option.markexpr == "long" and collection_path.suffix == ".py":
        return "pytest.mark.long" not in collection_path.read_text() or None
    return None


FIRST = ("test_slurm.py", "test_ray.py", "test_hosts.py", "test_faults.py")
"""Files whose tests wait for other programs for minutes; begun first, they do not keep one core waiting at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first; the order is otherwise kept."""
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))


@pytest.fixture(autouse=True)
def results_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no folder of committed records is named, it is `results` of the present folder, not the repository's."""
    monkeypatch.setattr(shipped, "RESULTS", Path("results"))


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """One run of each kind below `outputs` of the present folder."""
    monkeypatch.chdir(tmp_path)
    return make_all()


@pytest.fixture
def invoke() -> Invoke:
    """The command as a program calls it, its exit code the process's."""

    def call(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(lossbench, words)
        assert result.exit_code == code, result.output
        return result

    return call


@pytest.fixture
def cnn2c() -> Known:
    """All CNN2C cells of the paper's condition, invented."""
    return all_of_cnn2c()


@pytest.fixture(scope="session")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """The verdicts on the committed records."""
    return Judge(known_results(tmp_path_factory.mktemp("none"), RESULTS))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder outputs/ of one run with weights and one without."""
    return make_trained(tmp_path_factory.mktemp("trained") / "outputs")


@pytest.fixture
def outputs(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the same, below the present folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "outputs")
    return Path("outputs")


@pytest.fixture
def saved(outputs: Path) -> Run:
    """The run with weights."""
    return open_run(weighted_runs.config(outputs))


@pytest.fixture(scope="module")
def browser() -> Iterator[looking.Browser]:
    """Headless Chromium; where there is none, the test is skipped."""
    with ExitStack() as stack:
        try:
            browser = stack.enter_context(looking.opened())
        except looking.BrowserMissingError as error:
            pytest.skip(str(error))
        yield browser


@pytest.fixture
def no_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that runs code may be read."""

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("a file is unpickled")

    for owner, name in ((torch, "load"), (pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(owner, name, refuse)


@pytest.fixture
def fresh_plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What plugins change in a process is put back."""
    for name in LOSSES, MODELS, DATASETS, STUDIES:
        len(name)  # its own are loaded
    before = {name: vars(plugins)[name].copy() for name in ("_loaded", "_loading", "_registered")}
    kept = [(one, dict(one._known), dict(one._sources)) for one in (LOSSES, MODELS, DATASETS, STUDIES)]
    modules, path = set(sys.modules), list(sys.path)
    monkeypatch.delenv(plugins.VARIABLE, raising=False)
    yield
    for name, value in before.items():
        setattr(plugins, name, value)
    for one, known, found in kept:
        one._known, one._sources = known, found
    for name in set(sys.modules) - modules:
        if name.startswith("lossbench_plugin_") or name == "helper":
            del sys.modules[name]
    sys.path[:] = path


@pytest.fixture
def own_files(tmp_path: Path) -> Path:
    """A user's folder, its name with a space."""
    folder = tmp_path / "my losses"
    folder.mkdir()
    (folder / "my_focal.py").write_text(MY_FOCAL)
    (folder / "helper.py").write_text(HELPER)
    return folder


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which leases are measured."""
    return simulated_clock(monkeypatch)


@pytest.fixture
def on_host(monkeypatch: pytest.MonkeyPatch) -> OnHost:
    """Makes what follows happen on another host, as far as leases are concerned."""
    return simulated_host(monkeypatch)
