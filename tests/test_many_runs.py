"""Work grows with the number of runs and not with its square: operations are counted, not seconds."""

import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import many_folders
import many_runs
import pytest
from hydra.core.global_hydra import GlobalHydra
from kinds_of_runs import Invoke
from tables_of_runs import config

from lossbench.cli.hydra_main import composed_config, hydra_main
from lossbench.config.naming import told_apart
from lossbench.config.run import Config, run_id
from lossbench.losses.sml import Sml
from lossbench.report import own
from lossbench.runs.inspect import entries
from lossbench.runs.search import search
from lossbench.sweep.progress import Progress
from lossbench.sweep.run_all import remaining

COUNTS = (200, 400, 800)

MOST_GROWTH = 2.5
"""From one difference to the next, where the number of runs doubles: 2 of linear work, 4 of quadratic work."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    place = tmp_path_factory.mktemp("many")
    before = Path.cwd()
    os.chdir(place)
    try:
        return many_folders.write(COUNTS, place)
    finally:
        os.chdir(before)


def calls(work: Callable[[], object]) -> int:
    """How many functions are called, of Python and of C."""
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    work()  # imports and caches
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def growth(work: Callable[[int], object]) -> float:
    """How many times as many calls a step of twice as many runs adds; what does not depend on the runs drops out."""
    found = [calls(lambda count=count: work(count)) for count in COUNTS]
    return (found[2] - found[1]) / (found[1] - found[0])


@pytest.mark.parametrize(
    "words",
    [
        "runs",
        "runs --json",
        "runs loss=sml --sort -accuracy",
        "table",
        "table --format csv",
        "table --baseline loss=sml",
        "remove",
        "verify --results-dir nothing",
        "export archive.zip",
    ],
)
def test_a_command_calls_twice_as_many_functions_for_twice_as_many_runs(
    words: str, folders: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    monkeypatch.chdir(tmp_path)
    assert growth(lambda count: invoke(*words.split(), "--output-dir", str(folders[count]))) < MOST_GROWTH


def test_the_page_of_own_runs_grows_so_too(folders: dict[int, Path], tmp_path: Path) -> None:
    runs = {count: entries(folders[count]) for count in COUNTS}
    assert growth(lambda count: own.write_own(tmp_path / str(count), runs[count])) < MOST_GROWTH


def configs(count: int, output_dir: Path) -> list[Config]:
    made = replace(config(Sml()), runtime=replace(config(Sml()).runtime, output_dir=str(output_dir)))
    return [replace(made, seed=seed) for seed in range(count)]


def test_planning_grows_so_too(folders: dict[int, Path]) -> None:
    planned = {count: configs(count, folders[count]) for count in COUNTS}
    assert growth(lambda count: remaining(planned[count])) < MOST_GROWTH
    known = {
        count: {run_id(one): {"seed": one.seed, "loss": {"name": "sml"}} for one in planned[count]} for count in COUNTS
    }
    assert growth(lambda count: told_apart(known[count])) < MOST_GROWTH


def test_progress_of_a_sweep_grows_so_too() -> None:
    planned = {count: configs(count, Path("nowhere")) for count in COUNTS}

    def all_done(count: int) -> None:
        names = [run_id(one) for one in planned[count]]
        progress = Progress(dict.fromkeys(names, 1e9), 2)
        progress._print = lambda *words, **options: None
        for name, one in zip(names, planned[count], strict=True):
            progress.step(one, 1, 0.5, "")
            progress.done(name, 0.9, "")
        assert progress._fraction() == pytest.approx(1.0)

    assert growth(all_done) < MOST_GROWTH


def opened(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> Counter[str]:
    """How often files of runs are opened, by path."""
    found: Counter[str] = Counter()
    open_ = os.open

    def note(path: Any, *arguments: Any, **options: Any) -> int:
        if f"{os.sep}runs{os.sep}" in str(path):
            found[str(path)] += 1
        return open_(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", note)
        work()
    return found


def test_a_list_reads_each_record_once_and_nothing_else_of_a_finished_run(
    folders: dict[int, Path], monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    found = opened(monkeypatch, lambda: invoke("runs", "--output-dir", str(folders[200])))
    finished = {str(path) for path in folders[200].glob("runs/*/result.json")}
    assert len(finished) == 197
    assert {path: found[path] for path in finished} == dict.fromkeys(finished, 1)
    others = {path for path in found if path not in finished}
    assert all(not (Path(path).parent / "result.json").exists() for path in others)
    assert max(found.values()) == 2  # the reason of a failure, also for its status
    assert len(others) <= 4 * 3


def test_one_run_is_shown_without_reading_the_others(
    folders: dict[int, Path], monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    runs = sorted(path.parent for path in folders[800].glob("runs/*/result.json"))
    found = opened(monkeypatch, lambda: invoke("show", runs[5].name, "--output-dir", str(folders[800])))
    assert {Path(path).parent for path in found} == {runs[5]}
    found = opened(monkeypatch, lambda: invoke("diff", runs[5].name, runs[9].name, "--output-dir", str(folders[800])))
    assert {Path(path).parent for path in found} == {runs[5], runs[9]}


def test_a_name_is_found_as_before(folders: dict[int, Path]) -> None:
    everything = entries(folders[200])
    name = everything[3].id
    assert [one.id for one in search([name, f"some/folder/{name}/"], folders[200])] == [name, name]
    for wrong, said in (
        ("digits-cnn2c-sml-s0", "is the beginning of 10 runs"),
        ("digits-cnn2c-slm-s0", "did you mean"),
    ):
        with pytest.raises(ValueError, match=said):
            search([wrong], folders[200])


def test_a_sweep_has_the_configs_that_hydra_makes_of_each_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values of options are written over each other in one composed config, and none of them stays."""
    swept = {
        "dataset": ["digits", "kmnist"],
        "loss": ["lgl"],
        "schedule.lr": ["1e-3"],
        "schedule.milestones": ["[0.5]", "[]", "[0.2,0.4]"],
        "dataset.num_validation": ["null", "100"],
        "seed": ["3"],
    }
    words = [f"{key}={','.join(values)}" for key, values in swept.items()]
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", *words, "runtime.device=cpu"])
    given: list[list[Config]] = []
    hydra_main("train", given.append, "config")
    GlobalHydra.instance().clear()
    combinations = [[]]
    for key, values in swept.items():
        combinations = [[*before, f"{key}={value}"] for before in combinations for value in values]
    assert len(combinations) == 12
    assert given == [[composed_config([*one, "runtime.device=cpu"], {}) for one in combinations]]


@pytest.mark.long
def test_ten_thousand_runs_take_seconds_and_little_memory(tmp_path: Path) -> None:
    """Twice the limits of docs/performance.md, for a machine with other work on it; processor time counts."""
    names = [many_runs.PLAN, "runs", "table", "show RUN", "export FILE.zip", "report"]
    found = many_runs.measured(10_000, tmp_path, names, 600, 1)
    limits = dict.fromkeys(names, 5.0) | {"export FILE.zip": 60.0, "report": 60.0}
    for name, (cost,) in found.items():
        assert cost.code == 0, name
        assert cost.cpu_s < 2 * limits[name], name
        assert cost.peak_mb < 2 * 2000, name
