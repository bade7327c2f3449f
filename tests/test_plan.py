"""`lossbench plan`: runs that are done, begun or left, hours, energy, and machines."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import RESULTS
from made_runs import config, contents, diverged, finished

from lossbench.cli import main as cli
from lossbench.cli.plan import at_a_time
from lossbench.config.run import Config, Precision, run_id
from lossbench.runs.folder import open_run, to_json
from lossbench.sweep.estimate import Estimates, Place, place_of
from lossbench.sweep.machines import CORE
from lossbench.sweep.plan import Power, Target, Todo, cost, makespan, slots_of, two_figures
from lossbench.system import shipped
from lossbench.system.files import write_bytes

DIGITS = ("dataset=digits", "model=cnn2c")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lossbench.sweep.targets.num_cores", lambda: 2)


@pytest.fixture
def committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The committed records are those of the repository."""
    monkeypatch.setattr(shipped, "RESULTS", RESULTS)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    run(*words)
    return capsys.readouterr().out.splitlines()


def run(*words: str) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(("plan", *words))
    assert stop.value.code == 0


def facts(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    run(*words, "--json")
    return json.loads(capsys.readouterr().out)


def mistake(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.main(("plan", *words))
    assert stop.value.code == 1
    return capsys.readouterr().err


def test_the_last_run_ends_when_a_list_of_runs_says() -> None:
    assert makespan([4.0, 3.0, 2.0, 2.0], 2) == 6.0  # 4 and 2, 3 and 2
    assert makespan([5.0, 1.0, 1.0], 2) == 5.0  # not 3.5
    assert makespan([1.0, 1.0], 8) == 1.0
    assert makespan([], 3) == 0.0


def made(seconds: float, seed: int = 0, **changes: Any) -> Todo:
    one = config(Path("outputs"), seed)
    return Todo(replace(one, **changes), seconds / 100)


class Hundred(Estimates):
    """Every run takes 100 s."""

    def __init__(self) -> None:
        super().__init__([])

    def estimate(self, *given: Any, **others: Any) -> Any:
        return replace(super().estimate(*given, **others), seconds=100.0)


def test_hours_and_energy_follow_from_places_and_power() -> None:
    runs = [made(seconds, seed) for seed, seconds in enumerate((60.0, 100.0, 40.0, 50.0))]
    cpu = Target("cpu", Place(CORE, "a processor"), devices=2)
    found = cost([runs], cpu, Hundred(), Power(10.0, 0.5))
    assert (found.parallel, found.threads, found.num_impossible) == (2, 1, 0)
    assert found.device_hours * 3600 == pytest.approx(250.0)
    assert found.wall_hours * 3600 == pytest.approx(150.0)  # 60 + 40 + 50 and 100
    assert found.kwh == pytest.approx(250 / 3600 * 0.010)
    apart = cost([runs[:2], runs[2:]], cpu, Hundred(), Power())
    assert apart.wall_hours * 3600 == pytest.approx(150.0)  # 100 and then 50
    gpus = Target("h100", place_of("h100"), nodes=2, devices=1, runs_per_gpu=2)
    found = cost([runs], gpus, Hundred(), Power(10.0, 0.5))
    assert found.device_hours * 3600 == pytest.approx(125.0)  # two share a GPU
    assert found.wall_hours * 3600 == pytest.approx(100.0)
    assert found.kwh == pytest.approx(125 / 3600 * (0.5 * 700 + 2 * 10) / 1000)
    assert found.factor == pytest.approx(3.0)
    assert cost([[]], gpus, Hundred(), Power()).wall_hours == 0


def test_seeds_come_one_after_the_other_and_long_runs_first_within() -> None:
    runs = [made(10.0, 1), made(90.0, 0), made(10.0, 0), made(80.0, 1)]
    found = cost([runs], Target("cpu", Place(CORE), devices=2), Hundred(), Power())
    assert found.wall_hours * 3600 == pytest.approx(100.0)  # 90 + 10 beside 10 + 80


def test_threads_and_places_are_those_of_a_sweep() -> None:
    def slots(count: int, devices: int, nodes: int = 1, **runtime: Any) -> tuple[int, int]:
        one = made(1.0)
        one = Todo(replace(one.config, runtime=replace(one.config.runtime, **runtime)))
        return slots_of([one] * count, Target("cpu", Place(CORE), nodes, devices))

    assert slots(10, 4) == (4, 1)
    assert slots(2, 8) == (2, 4)
    assert slots(10, 8, num_threads=2) == (4, 2)
    assert slots(10, 8, parallel=3) == (3, 2)
    assert slots(10, 8, nodes=2) == (10, 1)
    assert slots(3, 8, nodes=2) == (4, 4)


def test_runs_at_a_time_are_never_more_threads_than_cores() -> None:
    target = Target("cpu", Place(CORE), 4, 64)
    one = cost([[]], target, Hundred(), Power())
    assert [
        at_a_time(target, replace(one, parallel=parallel, threads=threads))
        for parallel, threads in ((256, 1), (8, 32), (91, 64))
    ] == ["256", "8 x 32 threads", "91, or 64 threads"]


def test_tf32_needs_a_gpu() -> None:
    tf32 = made(100.0)
    tf32 = Todo(replace(tf32.config, schedule=replace(tf32.config.schedule, precision=Precision.tf32)))
    found = cost([[tf32, made(50.0, 1)]], Target("cpu", Place(CORE)), Hundred(), Power())
    assert (len(found.estimates), found.num_impossible) == (1, 1)
    assert cost([[tf32]], Target("h100", place_of("h100")), Hundred(), Power()).num_impossible == 0


def begun(seed: int, epoch: int) -> Config:
    """A run that was stopped after an epoch."""
    one = config(Path("outputs"), seed)
    run = open_run(one)
    run.start(one)
    write_bytes(run.folder / "metrics.jsonl", b"".join(to_json({"epoch": n + 1}) + b"\n" for n in range(epoch)))
    return one


def test_finished_runs_are_left_out_and_begun_ones_are_shorter(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("-m", *DIGITS, "loss=sml", "schedule.epochs=20", "seed=0,1,2,3", "--on", "cpu")
    schedule = ("schedule.lr=0.01", "schedule.momentum=0.5", "schedule.batch_size=64")
    before = facts(capsys, *words, *schedule)
    assert before["runs"] == {"planned": 4, "finished": 0, "diverged": 0, "begun": 0, "to_do": 4}
    finished(Path("outputs"), 0, wall_s=50.0)
    diverged(Path("outputs"), 1)
    assert run_id(begun(2, 15)) in {path.name for path in Path("outputs/runs").iterdir()}
    known = contents(Path())
    after = facts(capsys, *words, *schedule)
    assert after["runs"] == {"planned": 4, "finished": 1, "diverged": 0, "begun": 1, "to_do": 3}
    (machine,) = after["machines"]
    assert machine["runs"] == 3
    assert machine["estimated_from"] == {"the same network, data set, loss and precision": 3}
    assert contents(Path()) == known  # nothing is written


def test_the_table_says_what_it_rests_on(committed: None, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "-m", *DIGITS, "loss=sml,lgl", "seed=0,1", "--on", "cpu,h100", "--nodes", "2")
    assert lines[0] == "4 runs: 0 finished, 4 to do"
    head, cpu, gpu = lines[1:4]
    assert re.split(" {2,}", head) == [
        *("machine", "runs", "at a time", "device hours"),
        *("hours", "kWh", "within a factor of"),
    ]
    assert re.search(r"^cpu, .*2 x 2 cores  +4 +4 +[\d.]+ core-hours +[\d.]+ +[\d.]+ +[23]\.\d$", cpu)
    assert re.search(r"^H100, 2 x 1 GPU  +4 +2 +[\d.]+ GPU-hours +[\d.]+ +[\d.]+ +3\.0$", gpu)
    rest = "\n".join(lines[4:])
    assert re.search(
        r"^cpu: 4 runs from \d+ to \d+ measured with the same network, loss and precision$", rest, re.MULTILINE
    )
    assert "H100: 4 runs from NVIDIA's data sheet of the H100, SXM, not measured; expect a factor of 3" in rest
    assert "energy of a processor: 8 W a core" in rest
    assert list(Path().iterdir()) == []


def test_a_plan_that_is_done_has_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    finished(Path("outputs"), 0)
    lines = said(capsys, *DIGITS, "loss=sml", "seed=0", "schedule.epochs=20", "schedule.lr=0.01")
    assert lines == ["1 run: 1 finished, 0 to do"]


def test_processors_with_measured_runs_have_their_names(committed: None, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, *DIGITS, "--on", "amd epyc", "--cores-per-node", "16")
    assert lines[2].startswith("AMD EPYC, 16 cores ")
    error = mistake(capsys, *DIGITS, "--on", "amd k6")
    assert error.startswith("lossbench: --on amd k6: there is no such machine; name here, cpu, one of h200, h100, ")
    assert '"AMD EPYC"' in error


def test_a_wrong_option_is_that_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert "dataset=mnits: there is no such dataset" in mistake(capsys, "dataset=mnits")
    assert "there is no option" in mistake(capsys, "reproduce", "prfile=paper")
    assert "name the losses to compare" in mistake(capsys, "compare", "dataset=mnist")
    assert "plan it without quick" in mistake(capsys, "compare", "loss=sml,lgl", "--quick")
    assert "only dry, results_dir and runtime" in mistake(capsys, "reference", "seeds=1")


def test_a_comparison_says_what_follows(capsys: pytest.CaptureFixture[str]) -> None:
    known = facts(capsys, "compare", "loss=sml,focal", "dataset=digits", "results_dir=null", "--on", "h100")
    assert known["command"] == "compare"
    assert known["runs"]["planned"] == known["runs"]["to_do"] == 24
    assert known["notes"] == [
        "the runs of later blocks follow from the accuracies of these: at most 54 runs in all, 27 a loss"
    ]


def test_a_reproduction_for_a_gpu_is_the_papers(capsys: pytest.CaptureFixture[str]) -> None:
    on_gpu = facts(capsys, "reproduce", "--on", "a100", "results_dir=null")
    assert on_gpu["notes"] == ["profile paper (planned for a GPU); profile=quick selects the other"]
    assert on_gpu["runs"]["to_do"] == 145
    on_cpu = facts(capsys, "reproduce", "--on", "cpu", "results_dir=null")
    assert on_cpu["runs"]["to_do"] == 34
    assert on_cpu["notes"] == ["profile quick (planned for a processor); profile=paper selects the other"]


def test_numbers_have_two_figures() -> None:
    values = {0.0: "0", 0.000012345: "0.000012", 0.0449: "0.045", 1.04: "1.0", 9.96: "10", 123.0: "120"}
    values |= {1234567.0: "1,200,000", 2.5: "2.5", 95.4: "95"}
    assert {value: two_figures(value) for value in values} == values


def test_errors_of_estimates_are_as_the_documentation_says(committed: None, capsys: pytest.CaptureFixture[str]) -> None:
    from lossbench.sweep.estimate import NETWORK, PRECISION, SAME, USUAL_FACTOR

    run("--check", "--json")
    own, kind, network = json.loads(capsys.readouterr().out)
    assert own["num_runs"] >= 883
    assert kind["median"] < 1.05 * USUAL_FACTOR
    assert own["most"] < 1.1 * SAME.factor
    assert max(kind["most"], kind["most_of_kinds"]) < 1.1 * NETWORK.factor
    assert max(network["most"], network["most_of_kinds"]) < 1.1 * PRECISION.factor


def test_a_step_is_measured_without_the_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = (("dataset=fmnist",), ("dataset=words", "model=word2next", "loss=nce"))
    for words in (*kinds, ("dataset=gaussian_classes", "model=linear")):
        found = facts(capsys, *words, "--measure", "--on", "here", "runtime.device=cpu")
        assert found["machines"][0]["estimated_from"] == {"a training step measured now": 1}
        assert found["machines"][0]["wall_hours"] > 0
    assert list(Path().iterdir()) == []
