"""Jobs of runs, the folder of a sweep, and watching runs, without an engine."""

import json
import math
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_runs
import pytest

from lossbench.config.plugins import load_plugin
from lossbench.config.registry import LOSSES
from lossbench.config.run import Config, run_id
from lossbench.engines.jobs import grouped, in_a_job, job_of, names_in, runs_of
from lossbench.engines.options import Ray, Slurm
from lossbench.engines.ray import check_answers
from lossbench.engines.slurm import Queued, in_words, last_words, limit_min, never_start
from lossbench.engines.sweeps import Submitted, Sweep, all_sweeps, find_sweep, sweep_of
from lossbench.engines.watch import Ended, Live, Watched, watch
from lossbench.engines.worker import NoProgressError, SlurmJob, epochs_done
from lossbench.runs.folder import Run, open_run
from lossbench.sweep.run_all import Summary


def configs(folder: Path, number: int) -> list[Config]:
    return [made_runs.config(folder, seed) for seed in range(number)]


def sizes(folder: Path, number: int, launcher: Slurm, seconds: float) -> list[int]:
    return [len(job.configs) for job in grouped(configs(folder, number), launcher, lambda config: seconds)]


def test_short_runs_share_a_job_and_long_ones_do_not(tmp_path: Path) -> None:
    assert sizes(tmp_path, 24, Slurm(), 10) == [12, 12], "about 150 s a job, where there is so much to do"
    assert sizes(tmp_path, 24, Slurm(jobs_at_once=2), 600) == [3] * 8, "and at most job_min, here half an hour"
    assert sizes(tmp_path, 24, Slurm(jobs_at_once=4, job_min=60), 600) == [6] * 4, "or what keeps all jobs busy"
    assert sizes(tmp_path, 3, Slurm(), 7200) == [1, 1, 1]
    assert sizes(tmp_path, 24, Slurm(runs_at_once=4), 10) == [24], "four at a time take a quarter of the time"
    assert sizes(tmp_path, 7, Slurm(runs_per_job=3), 7200) == [3, 3, 1]
    assert sizes(tmp_path, 2500, Slurm(runs_per_job=1), 10)[0] == 3, "an array has at most 1,000 jobs"
    assert len(sizes(tmp_path, 2500, Slurm(), 3600)) <= 1000
    assert grouped([], Slurm(), lambda config: 1.0) == []


def test_the_time_of_a_job_is_that_of_its_busiest_place(tmp_path: Path) -> None:
    launcher = Slurm(runs_per_job=5, runs_at_once=2)
    [job] = grouped(configs(tmp_path, 5), launcher, lambda config: 10.0 * (config.seed + 1))
    assert job.seconds == 10 + 30 + 50  # 1, 3 and 5 beside 2 and 4
    assert limit_min(Slurm(), [job]) == 30
    assert limit_min(Slurm(time_min=7), [job]) == 7
    assert limit_min(Slurm(), [replace(job, seconds=61 * 60)]) == 190


def test_a_run_that_begins_with_anothers_weights_stands_behind_it(tmp_path: Path) -> None:
    first, second, third = configs(tmp_path, 3)
    after = replace(first, schedule=replace(first.schedule, warm_start=run_id(third)))
    last = replace(first, schedule=replace(first.schedule, warm_start=run_id(after)))
    jobs = grouped([last, first, after, second, third], Slurm(runs_per_job=1), lambda config: 1.0)
    assert [list(job.configs) for job in jobs] == [[first], [second], [third, after, last]]


def test_a_job_is_the_same_runs_after_json(tmp_path: Path) -> None:
    given = [in_a_job(config, Slurm(cpus_per_run=3), "data") for config in configs(tmp_path, 2)]
    failed = open_run(given[1])
    failed.folder.mkdir(parents=True)
    with failed.held():
        failed.fail("a reason")
    job = json.loads(json.dumps(job_of(given, {run_id(given[1]): failed.failure_mark()})))
    found, marks = runs_of(job)
    assert found == given
    assert marks == {run_id(given[0]): None, run_id(given[1]): failed.failure_mark()}
    assert names_in(job) == list(map(run_id, given))
    assert given[0].runtime.num_threads == 3
    assert given[0].runtime.device == "cpu"
    assert given[0].runtime.data_dir == str(Path("data").absolute())
    with pytest.raises(ValueError, match=r"^the job has the format 7, and this lossbench reads 1; submit it again$"):
        runs_of(job | {"format": 7})


def test_gpus_decide_how_many_runs_a_job_executes(tmp_path: Path) -> None:
    config = made_runs.config(tmp_path)
    config = replace(config, runtime=replace(config.runtime, runs_per_gpu=3))
    there = in_a_job(config, Slurm(gpus_per_job=2, runs_at_once=9), None)
    assert there.runtime.parallel == 6
    assert there.runtime.device == "cuda"
    assert in_a_job(config, Slurm(runs_at_once=9), None).runtime.parallel == 9


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"runs_per_job": 0}, "launcher.runs_per_job must be auto or >= 1, got 0"),
        ({"job_min": math.inf}, "launcher.job_min must be > 0 and finite, got inf"),
        ({"jobs_at_once": 0}, "launcher.jobs_at_once must be >= 1, got 0"),
        ({"gpus_per_job": -1}, "launcher.gpus_per_job must be >= 0, got -1"),
        ({"time_min": 0}, "launcher.time_min must be null or >= 1, got 0"),
        (
            {"time_min": 2, "signal_s": 60},
            "launcher.time_min must be null or >= 3 with launcher.signal_s=60, so that a job can start before it is "
            "stopped, got 2",
        ),
        ({"signal_s": 0}, "launcher.signal_s must be in 1..65535, got 0"),
        ({"requeues": -1}, "launcher.requeues must be >= 0, got -1"),
        ({"mem_gb": 0.0}, "launcher.mem_gb must be null or > 0, got 0.0"),
    ],
)
def test_an_option_out_of_range_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match="^" + sentence.replace(".", r"\.") + "$"):
        Slurm(**options)


def test_options_of_ray_are_checked() -> None:
    with pytest.raises(ValueError, match=r"^launcher\.retries must be >= 0, got -1$"):
        Ray(retries=-1)
    with pytest.raises(ValueError, match=r"^launcher\.memory_gb must be null or > 0, got -2$"):
        Ray(memory_gb=-2)
    with pytest.raises(ValueError, match=r'^launcher\.resources must be a list such as \["big=1"\], got \[\'big\'\]$'):
        Ray(resources=["big"])
    assert Ray(resources=["big=1.5", "x=2"]).amounts() == {"big": 1.5, "x": 2.0}
    with pytest.raises(ValueError, match=r"^launcher\.sbatch must be a list of options without dashes, such as"):
        Slurm(sbatch=["--nice=100"])


def submitted(sweep: Sweep, some: list[Config], id_: str) -> None:
    path = sweep.write_job(job_of(some, {}))
    sweep.add([Submitted(id_, path, ("err", "out"))])


def test_a_sweep_knows_which_job_has_a_run(tmp_path: Path) -> None:
    some = configs(tmp_path, 3)
    names = list(map(run_id, some))
    sweep = sweep_of(tmp_path, "slurm", names)
    assert sweep.name == sweep_of(tmp_path, "slurm", names[::-1]).name
    assert sweep.name != sweep_of(tmp_path, "slurm", names[:2]).name
    sweep.write({"engine": "slurm", "command": [], "launcher": {}, "runs": names})
    submitted(sweep, some, "12_0")
    submitted(sweep, some[1:], "15")
    assert sweep.runs_of({"12_0", "15"}) == {names[0]: "12_0", names[1]: "15", names[2]: "15"}
    assert sweep.runs_of({"12_0"}) == dict.fromkeys(names, "12_0")
    assert sweep.runs_of({"99"}) == {}
    with (sweep.folder / "submitted.jsonl").open("a") as file:
        file.write('{"id": "16"')  # as a killed process leaves it
    assert list(sweep.submitted()) == ["12_0", "15"]
    assert [found.name for found in all_sweeps(tmp_path)] == [sweep.name]
    assert find_sweep(tmp_path, None).name == find_sweep(tmp_path, "slurm").name == sweep.name
    with pytest.raises(ValueError, match=f"^there is no sweep ray, only {sweep.name}$"):
        find_sweep(tmp_path, "ray")
    with pytest.raises(ValueError, match=r"^there is no sweep in .*nowhere"):
        find_sweep(tmp_path / "nowhere", None)
    (sweep.folder / "sweep.json").write_text("{}")
    with pytest.raises(ValueError, match=r"sweep\.json is damaged .*; remove .* and submit again$"):
        sweep.facts  # noqa: B018
    with sweep.held(), pytest.raises(ValueError, match="another process is submitting the sweep"), sweep.held():
        pass


class Shown:
    """A display that notes what it was told."""

    def __init__(self) -> None:
        self.ended: dict[str, float | None] = {}
        self.steps: list[tuple[str, int]] = []
        self.words: list[str] = []

    def done(self, name: str, accuracy: float | None, reason: str, *others: object) -> None:
        self.ended[name] = accuracy

    def step(self, config: Config, epoch: int, fraction: float, line: str) -> None:
        self.steps.append((run_id(config), epoch))

    def say_of_all(self, words: str) -> None:
        self.words.append(words)


def test_every_way_in_which_a_run_can_end_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossbench.engines.watch.LEAST_S", 0.001)
    monkeypatch.setattr("lossbench.engines.watch.MOST_S", 0.001)
    _, failed, lost, elsewhere, late = some = configs(tmp_path, 5)
    names = list(map(run_id, some))
    made_runs.finished(tmp_path, 0, 0.75)
    for config, mark in ((failed, True), (late, False)):
        run = open_run(config)
        run.folder.mkdir(parents=True)
        with run.held():
            run.fail("an old reason" if not mark else "ValueError: a reason")
    marks = {names[1]: None, names[4]: open_run(late).failure_mark()}
    looks = 0

    def ask() -> Live:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise ValueError("no answer")
        if looks == 4:
            made_runs.finished(tmp_path, 4, 0.5)
        return Live(dict.fromkeys(names[4:], "7"), f"look {looks}")

    shown, summary = Shown(), Summary()
    ended = {names[3]: Ended(0.25)}
    watch(
        Watched(dict(zip(names, some, strict=True)), marks, ask, lambda name: "job 7 died", ended),
        summary,
        shown,
        math.inf,
    )  # type: ignore[arg-type]
    assert shown.ended == {names[0]: 0.75, names[1]: None, names[2]: None, names[3]: 0.25, names[4]: 0.5}
    assert summary.failed == {names[1]: "ValueError: a reason", names[2]: "job 7 died"}
    assert summary.lost == {names[2]}
    assert sorted(summary.finished) == sorted([names[0], names[3], names[4]])
    assert looks == 5, "a job is missed three times before its run counts as lost, and no answer is no sign of that"
    assert "the engine does not answer; asking again" in shown.words
    assert lost.seed == 2
    assert elsewhere.seed == 3


def test_the_last_words_of_a_job_are_its_reason(tmp_path: Path) -> None:
    err, out = tmp_path / "err", tmp_path / "out"
    assert last_words([str(err), str(out)]) == ""
    out.write_text("only this\n")
    err.write_text("")
    assert last_words([str(err), str(out)]) == "only this"
    err.write_text("Traceback\nValueError: a reason\nsrun: error: n1: task 0: Exited with exit code 1\n")
    assert last_words([str(err), str(out)]) == "ValueError: a reason"
    err.write_text("an old one\nslurmstepd-n1: error: *** JOB 1 ON n1 CANCELLED AT T DUE TO JOB REQUEUE ***\n")
    assert last_words([str(err)]).endswith("DUE TO JOB REQUEUE ***")
    with err.open("a") as file:
        file.write("srun: got SIGCONT\nsrun: error: n1: task 0: Killed\nsrun: forcing job termination\n")
    assert last_words([str(err)]) == "srun: error: n1: task 0: Killed"
    with err.open("a") as file:
        file.write("slurmstepd: error: *** STEP 1.0 ON n1 CANCELLED AT T DUE TO TIME LIMIT ***\nsrun: error: n1: x\n")
    assert last_words([str(err)]) == "slurmstepd: error: *** STEP 1.0 ON n1 CANCELLED AT T DUE TO TIME LIMIT ***"


def test_jobs_in_words() -> None:
    jobs = [Queued("1_0", "s", "RUNNING", "None", "n1"), Queued("1_1", "s", "PENDING", "Priority", "")]
    assert in_words({job.id: job for job in jobs}) == "1 job running, 1 waiting (Priority)"
    assert in_words({}) == "no jobs in the queue"


def test_an_address_at_which_nothing_answers_is_refused_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        check_answers(address)
        check_answers("auto")
    with pytest.raises(ValueError, match=f"nothing answers at launcher.address={address} "):
        check_answers(address)
    for wrong in ("first", "first:", ":6379", "first:x", "first:70000"):
        with pytest.raises(ValueError, match=f"must be host:port, such as first:6379, or auto, got {wrong}$"):
            check_answers(wrong)


def test_jobs_that_may_never_start_are_told_from_those_that_wait() -> None:
    reasons = ["PartitionConfig", "Resources", "QOSMaxCpuPerJobLimit", "PartitionConfig"]
    jobs = [Queued(str(place), "s", "PENDING", reason, "") for place, reason in enumerate(reasons)]
    jobs += [Queued("8", "another", "PENDING", "BadConstraints", ""), Queued("9", "s", "RUNNING", "InvalidQOS", "n1")]
    rest = "; to change their options launcher.*, first lossbench sweep cancel s"
    assert never_start(jobs, "s") == [
        f"Slurm may never start the jobs that wait for the reason {reason}{rest}"
        for reason in ("PartitionConfig", "QOSMaxCpuPerJobLimit")
    ]


def test_a_job_without_progress_is_not_continued_for_ever(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    [config] = [in_a_job(config, Slurm(), None) for config in configs(tmp_path, 1)]
    sweep = sweep_of(tmp_path, "slurm", ["a"])
    job = SlurmJob(str(sweep.write_job(job_of([config], {}))), 60)
    run = open_run(config)
    run.folder.mkdir(parents=True)
    job._done_before = epochs_done(job.job)
    with pytest.raises(
        NoProgressError, match=r"^no epoch ended within the time limit of 60 min; set a longer launcher"
    ):
        job.checkpoint()
    with run.held():
        run.append_metrics({"epoch": 1})
    assert epochs_done(job.job) == 1
    assert job.checkpoint().function == SlurmJob(job.path, 60)
    assert isinstance(run, Run)


def test_a_plugin_edited_after_submission_is_refused(tmp_path: Path, fresh_plugins: None) -> None:
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\nfrom lossbench import LossConfig, register_loss\n\n\n"
        "@register_loss(label='Mine', probabilities='softmax')\n@dataclass\n"
        "class Mine(LossConfig):\n    name: str = 'mine'\n"
    )
    load_plugin(tmp_path / "mine.py")
    config = made_runs.config(tmp_path)
    job = job_of([replace(config, loss=LOSSES["mine"].options(), plugins=None)], {})
    assert runs_of(job)[0][0].loss.name == "mine"
    job["plugins"][0]["sha256"] = "0" * 64  # what an edit after it was loaded here looks like there
    with pytest.raises(
        ValueError, match=r"^the plugin mine\.py has changed since its runs were submitted .000000000000"
    ):
        runs_of(job)
