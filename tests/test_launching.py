"""Command lines with a launcher, on a stand-in for Slurm whose commands note what they were asked."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import made_runs
import pytest
import yaml
from click.testing import Result

from lossbench.cli import main as cli
from lossbench.cli.hydra_main import composed_options
from lossbench.engines import slurm
from lossbench.engines.options import LAUNCHERS
from lossbench.engines.sweeps import all_sweeps
from lossbench.system.shipped import CONF

SBATCH = "cat $1 > {folder}/script.sh; echo Submitted batch job 40"
OTHERS = {"srun": "true", "squeue": "cat {folder}/queue", "scancel": "echo $@ >> {folder}/cancelled", "sacct": "exit 1"}

SWEEP = ["train", "-m", "dataset=digits", "loss=sml,lgl", "seed=0,1", "schedule.epochs=20"]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with Slurm's commands, in front of all others; `queue` is what squeue prints."""
    pytest.importorskip("submitit")
    folder = tmp_path / "slurm"
    (folder / "bin").mkdir(parents=True)
    for name, text in {"sbatch": SBATCH, **OTHERS}.items():
        command = folder / "bin" / name
        command.write_text(f"#!/bin/sh\n{text.format(folder=folder)}\n")
        command.chmod(0o755)
    (folder / "queue").write_text("")
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return folder


def train(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """Call `lossbench` with a command line, in this process; raises SystemExit if it fails."""
    monkeypatch.setattr(sys, "argv", ["lossbench", *words])
    try:
        cli.main()
    except SystemExit as stop:
        if stop.code:
            raise


def queued(folder: Path, ids: list[str], state: str = "PENDING", reason: str = "Priority") -> None:
    [sweep] = all_sweeps("outputs")
    lines = [f"{id_}|{state}|{reason}||{slurm.PREFIX}{sweep.name}" for id_ in ids]
    (folder / "queue").write_text("\n".join(["7_0|RUNNING|None|n1|somebody-elses", *lines]) + "\n")


def test_a_sweep_is_one_array_with_what_was_asked_for(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = [
        *("hydra/launcher=slurm", "hydra.launcher.partition=gpu", "launcher.account=ml", "launcher.qos=low"),
        *("launcher.runs_per_job=1", "launcher.gpus_per_job=2", "launcher.cpus_per_run=3", "launcher.time_min=45"),
        *(
            "launcher.mem_gb=1.5",
            "launcher.jobs_at_once=3",
            "launcher.wait=false",
            'launcher.sbatch=["nice=100",exclusive]',
        ),
        *('launcher.setup=["module load cuda"]', "runtime.runs_per_gpu=2", "runtime.device=cuda"),
    ]
    train(monkeypatch, *SWEEP, *options)
    script = (stand_in / "script.sh").read_text()
    [sweep] = all_sweeps("outputs")
    for line in (
        *("--array=0-3%3", "--partition=gpu", "--account=ml", "--qos=low", "--time=45", "--mem=1536M", "--nice=100"),
        "--exclusive",
        *(
            "--cpus-per-task=12",
            "--gpus-per-node=2",
            "--requeue",
            "--signal=USR2@90",
            f"--job-name=lossbench-{sweep.name}",
        ),
    ):
        assert f"#SBATCH {line}\n" in script
    assert "wckey" not in script
    assert "\nmodule load cuda\n" in script
    assert list(sweep.submitted()) == ["40_0", "40_1", "40_2", "40_3"]
    job = json.loads((sweep.folder / "jobs" / "0.json").read_text())
    runtime = job["runs"][0]["runtime"]
    assert (runtime["parallel"], runtime["num_threads"], runtime["device"]) == (4, 3, "cuda")
    assert runtime["output_dir"] == str(Path("outputs").absolute())


def test_the_same_command_submits_only_what_has_no_job(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [*SWEEP, "launcher=slurm", "launcher.runs_per_job=2", "launcher.wait=false"]
    train(monkeypatch, *line)
    assert "4 runs in 2 jobs submitted as Slurm job 40" in capsys.readouterr().out
    queued(stand_in, ["40_0"])
    train(monkeypatch, *line)
    out = capsys.readouterr().out
    assert "2 runs in 1 job submitted as Slurm job 40" in out
    assert "2 of 4 runs are in jobs that were submitted before" in out
    queued(stand_in, ["40_0", "40"])
    (stand_in / "script.sh").unlink()
    train(monkeypatch, *line)
    assert "4 of 4 runs are in jobs" in capsys.readouterr().out
    assert not (stand_in / "script.sh").exists()
    queued(stand_in, ["40_0", "40", "41_7"])  # the command was killed before it could note this one
    train(monkeypatch, *line)
    assert (stand_in / "cancelled").read_text() == "41_7\n"
    other = [*SWEEP[:4], "seed=0", SWEEP[5], *line[6:]]
    queued(stand_in, ["40_0", "40"])
    train(monkeypatch, *other)
    assert not (stand_in / "script.sh").exists(), "runs in the jobs of another sweep are not submitted again"


def invoke_sweep(*words: str) -> Result:
    from click.testing import CliRunner

    return CliRunner().invoke(cli.lossbench, ["sweep", *words], catch_exceptions=False)


def test_a_sweep_says_how_it_stands(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(monkeypatch, *SWEEP, "launcher=slurm", "launcher.runs_per_job=1", "launcher.wait=false")
    queued(stand_in, ["40_0", "40_1"])
    [sweep] = all_sweeps("outputs")
    assert "\n2 waiting (Priority)\n" in invoke_sweep("status").output
    log = Path(sweep.submitted()["40_2"].logs[0])
    log.write_text(
        "slurmstepd: error: Detected 1 oom_kill event in StepId=40.2.\nsrun: error: n1: task 0: Out Of Memory\n"
    )
    told = invoke_sweep("status").output
    assert "lost: digits-cnn2c-lgl-s1-" in told
    assert ": Slurm job 40_3 was taken out of the queue before it started\n" in told
    assert told.startswith(f"{sweep.name}: 4 runs, 2 waiting, 2 lost\n")
    assert (
        f"Slurm job 40_2 ended without it: slurmstepd: error: Detected 1 oom_kill event in StepId=40.2. ({log})" in told
    )
    names = {state["state"] for state in json.loads(invoke_sweep("status", "--json").output)["runs"].values()}
    assert names == {"waiting", "lost"}
    assert invoke_sweep("cancel").output == f"2 jobs of {sweep.name} cancelled\n"
    assert (stand_in / "cancelled").read_text() == "40_0 40_1\n"
    listed = json.loads(invoke_sweep("list", "--json").output)
    assert [(one["sweep"], one["runs"], one["finished"]) for one in listed] == [(sweep.name, 4, 0)]
    command = " ".join(["lossbench", *SWEEP, "launcher=slurm", "launcher.runs_per_job=1", "launcher.wait=false"])
    assert listed[0]["command"] == command
    assert told.endswith(f"\nthe same command submits them again: {command}\n")


def test_what_slurm_refuses_is_one_sentence(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    said = ["invalid partition specified: no", "Batch job submission failed: Invalid partition"]
    lines = [f"echo 'sbatch: error: {line}' >&2" for line in said]
    (stand_in / "bin" / "sbatch").write_text("\n".join(["#!/bin/sh", *lines, "exit 1"]))
    with pytest.raises(SystemExit):
        train(monkeypatch, *SWEEP, "launcher=slurm", "launcher.partition=no")
    assert capfd.readouterr().err == (
        "lossbench: Slurm refuses the jobs: invalid partition specified: no; Batch job submission failed: Invalid "
        "partition; change the options launcher.*\n"
    )


def test_a_run_that_no_job_began_has_no_files_to_name(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lossbench.engines.watch.LEAST_S", 0.01)
    with pytest.raises(SystemExit):
        train(monkeypatch, "train", "dataset=digits", "loss=sml", "launcher=slurm")
    out = capsys.readouterr().out
    assert "Slurm job 40 was taken out of the queue before it started" in out
    assert "files:" not in out


def test_a_stopped_command_says_that_its_jobs_go_on(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lossbench.engines.launch.watch", stop)
    with pytest.raises(SystemExit) as stopped:
        train(monkeypatch, *SWEEP, "launcher=slurm")
    assert stopped.value.code == 130
    [sweep] = all_sweeps("outputs")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"stopped; the jobs go on: lossbench sweep wait {sweep.name} waits for them, cancel stops them"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["launcher=slurn"],
            "launcher=slurn: there is no such launcher, only local, ray, slurm; did you mean launcher=slurm?",
        ),
        (["launcher=slurm", "launcher.partiton=x"], "did you mean launcher.partition=x?"),
        (["launcher.partition=x"], "partition is no option of launcher=local, but of launcher=slurm"),
        (["launcher=slurm", "launcher.jobs_at_once=1,2"], "launcher.jobs_at_once is no part of a run's name"),
        (["launcher=slurm", "runtime.budget_min=5"], "a time budget has no effect with launcher=slurm; leave it out"),
        (["launcher=slurm", "dataset.num_train=9"], "schedule.batch_size must be <="),
    ],
)
def test_what_is_wrong_with_a_launcher_is_one_sentence(
    stand_in: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    with pytest.raises(SystemExit) as stop:
        train(monkeypatch, *SWEEP, *words)
    assert stop.value.code == 1
    assert sentence in capsys.readouterr().err
    assert not (stand_in / "script.sh").exists()


def test_other_commands_refuse_a_launcher_or_use_it(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train(monkeypatch, "report", "launcher=slurm")
    assert "launcher=slurm: lossbench report trains nothing elsewhere; leave it out" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train(monkeypatch, "compare", "loss=sml,lgl", "dataset=digits", "launcher=slurm", "launcher.wait=false")
    assert "launcher.wait=false: a comparison's later runs depend on its first ones" in capsys.readouterr().err
    train(monkeypatch, "reproduce", "profile=quick", "seeds=1", "tables=[5]", "launcher=slurm", "launcher.wait=false")
    assert "3 runs in 1 job submitted" in capsys.readouterr().out
    train(monkeypatch, "plan", *SWEEP[1:], "launcher=slurm")
    assert "4 runs" in capsys.readouterr().out


def test_without_slurm_a_sentence_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit):
        train(monkeypatch, *SWEEP, "launcher=slurm")
    err = capsys.readouterr().err
    assert "launcher=slurm needs Slurm's commands, and sbatch is not on this machine; use a login node" in err
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_file_of_a_launcher_has_the_defaults_of_its_class(name: str) -> None:
    _, launcher = composed_options([f"launcher={name}"], {})
    assert launcher == LAUNCHERS[name]()
    shown = yaml.safe_load((CONF / "launcher" / f"{name}.yaml").read_text())
    assert {key: value for key, value in shown.items() if key != "defaults"} == asdict(launcher), "each option is shown"


def test_finished_runs_are_not_submitted(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made_runs.finished(Path("outputs"), 0)
    train(
        monkeypatch, "train", "-m", "dataset=digits", "loss=sml", "seed=0", "schedule.lr=0.01", "launcher=slurm", *_SAME
    )
    assert "finished before" in capsys.readouterr().out
    assert not (stand_in / "script.sh").exists()


_SAME = ["schedule.epochs=20", "schedule.batch_size=64"]


def test_a_plan_counts_the_threads_that_the_launcher_gives(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--on", "cpu", "--nodes", "2", "--cores-per-node", "8", "--json"]
    at_a_time = []
    for launcher in (["launcher=slurm"], ["launcher=slurm", "launcher.cpus_per_run=4"]):
        train(monkeypatch, "plan", *options, "-m", *SWEEP[2:4], "seed=range(20)", *launcher)
        [machine] = json.loads(capsys.readouterr().out)["machines"]
        at_a_time.append((machine["parallel"], machine["threads"]))
    assert at_a_time == [(16, 1), (4, 4)]


def test_a_refused_submission_leaves_no_sweep(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = stand_in / "bin" / "sbatch"
    refusing.write_text("#!/bin/sh\necho 'sbatch: error: Batch job submission failed: no' >&2\nexit 1\n")
    with pytest.raises(SystemExit):
        train(monkeypatch, *SWEEP, "launcher=slurm", "launcher.wait=false")
    assert all_sweeps("outputs") == []
