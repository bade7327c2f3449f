"""The commands as a user runs them: what they write, print and refuse, and how they continue after Ctrl-C."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import lossbench
from lossbench.config.run import Config, Runtime, Schedule, run_id
from lossbench.data.digits import Digits
from lossbench.data.prepared import prepare
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c
from lossbench.studies.aaai20.grid import configs

SCRIPTS = Path(__file__).parents[1] / "scripts"
SMALL = ("dataset=digits", "dataset.num_train=64", "schedule.batch_size=32", "runtime.num_threads=1")
FILES = {"config.json", "metrics.jsonl", "arrays.npz", "result.json", "train.log", ".claim"}


def small(**changes: Any) -> Config:
    """The run that SMALL asks for."""
    return replace(Config(Digits(num_train=64), Cnn2c(), Sml(), Schedule(batch_size=32)), **changes)


def command(name: str, *arguments: str) -> list[str]:
    """How to start a script, `train`, `reproduce` or `report`, or the `lossbench` command."""
    program = (
        ["-c", "from lossbench.cli.main import main; main()"] if name == "lossbench" else [str(SCRIPTS / f"{name}.py")]
    )
    return [sys.executable, *program, *arguments]


def environment() -> dict[str, str]:
    """Without a GPU, without anything of the user's, and with the package under test."""
    source = str(Path(lossbench.__file__).parents[1])
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LOSSBENCH", "HYDRA"))}
    return kept | {"PYTHONPATH": source, "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}


def run(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(name, *arguments), cwd=folder, env=environment(), capture_output=True, text=True)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done


def said(folder: Path, name: str, *arguments: str) -> str:
    """What a command that must succeed says."""
    done = run(folder, name, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def contents(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    paths = [path for path in paths if path.parent.name != ".claim"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def events(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    accumulator.Reload()
    return accumulator


def steps(accumulator: EventAccumulator, tag: str) -> list[int]:
    return [event.step for event in accumulator.Scalars(tag)]


def interrupt_after(num_epochs: int, folder: Path, metrics: Path, *arguments: str) -> tuple[int, str, str]:
    """Start a training, press Ctrl-C once so many epochs are done; returns exit code, output and errors."""
    process = subprocess.Popen(
        command("train", *arguments),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # even where pytest ignores it
    )
    deadline = time.monotonic() + 180
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < num_epochs:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


@pytest.mark.long
def test_a_run_continues_after_ctrl_c_and_leaves_only_its_files(tmp_path: Path) -> None:
    epochs = 30
    arguments = (*SMALL, "loss=lgl_inr", f"schedule.epochs={epochs}")
    config = small(loss=LglInr(), schedule=Schedule(epochs=epochs, batch_size=32))
    folder = tmp_path / "outputs" / "runs" / run_id(config)
    code, output, errors = interrupt_after(2, tmp_path, folder / "metrics.jsonl", *arguments)
    assert code == 130
    assert "stopped; run the same command again to continue every run after its last finished epoch" in output
    assert "Traceback" not in output + errors
    assert (folder / "checkpoint.pt").exists()
    assert not (folder / "result.json").exists()
    num_before = (folder / "metrics.jsonl").read_bytes().count(b"\n")
    assert 2 <= num_before < epochs

    output = said(tmp_path, "train", *arguments)
    first = next(line for line in output.splitlines() if line.startswith("epoch "))
    assert first.split()[1] in (f"{num_before}/{epochs}", f"{num_before + 1}/{epochs}")
    assert f"epoch  {epochs}/{epochs}" in output
    assert f"files: outputs/runs/{run_id(config)}" in output
    record = json.loads((folder / "result.json").read_text())
    assert f"{run_id(config)}: test accuracy {record['test_accuracy']:.4f}" in output

    events_folder = folder / f"num_train 64, epochs {epochs}, batch_size 32"  # as TensorBoard's list shows it
    (event_file,) = events_folder.glob("events.out.tfevents.*")
    assert {path.name for path in folder.iterdir()} == FILES | {events_folder.name}
    assert {path.name for path in events_folder.iterdir()} == {event_file.name, "hparams"}
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    assert {path.name for path in (tmp_path / "outputs").iterdir()} == {"runs", "cache"}
    assert [path.name for path in (tmp_path / "outputs" / "runs").iterdir()] == [folder.name]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, epochs + 1))
    for name in ("train/loss", "train/accuracy", "test/loss", "test/accuracy", "lr", "time/train_s", "time/test_s"):
        assert all(isinstance(line[name], float) for line in lines)
    assert record["run_id"] == folder.name
    assert record["config"] == json.loads((folder / "config.json").read_text())
    assert record["test_accuracy"] == lines[-1]["test/accuracy"] > 0.5
    assert record["test_accuracy_best"] == max(line["test/accuracy"] for line in lines)
    assert (record["num_parameters"], record["device"], record["precision"]) == (431_080, "cpu", "fp32")
    with np.load(folder / "arrays.npz") as arrays:
        assert arrays["test_predictions"].dtype == np.uint8
        assert arrays["test_logits"].shape == (300, 10)
        assert arrays["confusion_matrix"].trace() == round(300 * record["test_accuracy"])
    check_events(folder, events_folder, epochs)

    before = contents(tmp_path)
    output = said(tmp_path, "train", *arguments)
    assert f"{run_id(config)}: finished before, test accuracy {record['test_accuracy']:.4f}" in output
    assert "epoch" not in output
    assert contents(tmp_path) == before


def check_events(folder: Path, events_folder: Path, epochs: int) -> None:
    """TensorBoard has everything, and no point twice although the run was stopped once."""
    found = events(events_folder)
    every_epoch = ["train/loss", "train/accuracy", "test/loss", "test/accuracy", "schedule/lr", "time/images_per_s"]
    for tag in every_epoch + [f"class_accuracy/{label}" for label in range(10)]:
        assert steps(found, tag) == list(range(1, epochs + 1)), tag
    assert set(found.Tags()["images"]) >= {"lgl_inr/class_weights", "test/confusion_matrix"}
    assert [event.step for event in found.Images("test/confusion_matrix")] == [epochs]
    assert [event.step for event in found.Images("lgl_inr/class_weights")][-1] == epochs
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for tag in ("train/loss", "test/accuracy"):
        values = [event.value for event in found.Scalars(tag)]
        assert values == pytest.approx([line[tag] for line in metrics], rel=1e-6)
    row = events(events_folder / "hparams")
    hparams = row.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"lgl_inr" in hparams
    assert b"seed" in hparams
    assert steps(row, "result/test_accuracy") == [epochs]


@pytest.mark.long
def test_a_sweep_makes_all_runs_and_an_archive_carries_them(tmp_path: Path) -> None:
    prepare(Digits(), Runtime(output_dir=str(tmp_path / "outputs")))
    arguments = (*SMALL, "schedule.epochs=1", "runtime.tensorboard=false")
    output = said(tmp_path, "train", "-m", *arguments, "loss=sml,lgl", "seed=0,1", "runtime.parallel=2")
    wanted = [
        small(loss=loss, schedule=Schedule(epochs=1, batch_size=32), seed=seed)
        for loss in (Sml(), Lgl())
        for seed in (0, 1)
    ]
    ids = {run_id(config) for config in wanted}
    assert "runs: 4 finished, 0 were done before, 0 failed" in output
    assert all(f"{id_}: test accuracy " in output for id_ in ids)
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    folders = list((tmp_path / "outputs" / "runs").iterdir())
    assert {folder.name for folder in folders} == ids
    assert all({path.name for path in folder.iterdir()} == FILES for folder in folders)

    there = tmp_path / "there"
    there.mkdir()
    assert "4 finished runs written to runs.zip" in said(tmp_path, "lossbench", "export", "runs.zip")
    assert "4 runs added to outputs/runs, 0 existed already" in said(there, "lossbench", "import", "../runs.zip")
    assert "0 runs added to outputs/runs, 4 existed already" in said(there, "lossbench", "import", "../runs.zip")
    carried = {f"outputs/runs/{id_}/{name}" for id_ in ids for name in FILES - {"train.log", ".claim"}}
    before = contents(tmp_path / "outputs")
    assert contents(there) == {name: before[name.removeprefix("outputs/")] for name in carried}
    output = said(there, "train", "-m", *arguments, "loss=lgl,sml", "seed=0,1")
    assert "runs: 0 finished, 4 were done before, 0 failed" in output
    assert output.count("finished before, test accuracy") == 4
    assert contents(tmp_path / "outputs") == before


MISTAKES = [
    ("train loss=sml loss.beta=2", "lossbench: loss.beta=2: beta is no option of loss=sml, but of loss=lgl_inr"),
    ("train dataset=imagenet", "lossbench: dataset=imagenet: there is no such dataset, only cifar10, digits"),
    ("train schedule.lr=-1", "lossbench: schedule.lr must be > 0 and finite, got -1.0"),
    ("train -m dataset=digits seed=0,-1", "lossbench: seed must be in 0..2147483647, got -1"),
    ("train -m dataset=digits loss=sml,nosuch", "lossbench: loss=nosuch: there is no such loss, only "),
    ("reproduce tables=[6]", "lossbench: tables must be some of [3,4,5], got [6]"),
    ("reproduce -m tables=[3],[4]", "lossbench: -m is for lossbench train"),
    ("lossbench import nowhere.zip", "lossbench: nowhere.zip"),
    ("lossbench train seed=-1", "lossbench: seed must be in 0..2147483647, got -1"),
]


@pytest.mark.parametrize(("mistake", "words"), MISTAKES)
def test_a_mistake_is_one_sentence_and_leaves_nothing(mistake: str, words: str, tmp_path: Path) -> None:
    done = run(tmp_path, *mistake.split())
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def commit_record(folder: Path, config: Config) -> None:
    """Add a record of a run that was never trained to the committed ones."""
    record: dict[str, Any] = {"run_id": run_id(config), "numerics": lossbench.NUMERICS, "config": asdict(config)}
    record |= {"test_accuracy": 0.5, "test_accuracy_best": 0.5, "device": "cpu", "device_name": "a processor"}
    record |= {"precision": "fp32", "versions": {"torch": "1"}, "commit": None, "num_threads": 1}
    curve = [0.5] * config.schedule.epochs
    record |= {"arrays_sha256": "", "curves": {"train/accuracy": curve, "test/accuracy": curve}}
    folder.mkdir(exist_ok=True)
    with (folder / "records.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")


@pytest.mark.long
def test_reproduce_does_what_is_missing_and_report_shows_it_again(tmp_path: Path) -> None:
    wanted = configs([5], "quick", 1, Runtime())
    for config in wanted[:2]:
        commit_record(tmp_path / "results", config)
    before, here = contents(tmp_path), "results_dir=results"
    lines = said(tmp_path, "reproduce", "profile=quick", "tables=[5,3]", "seeds=2", "dry=true", here).splitlines()
    assert lines[0].startswith("profile quick (as chosen): 20 of 22 runs to do, ")
    assert lines[0].endswith("profile=paper selects the other")
    ids = [run_id(config) for config in configs([5, 3], "quick", 2, Runtime())]
    assert lines.pop().endswith("lossbench plan reproduce with the same options")
    assert [line.split()[0] for line in lines[1:]] == [id_ for id_ in ids if id_ not in map(run_id, wanted[:2])]
    assert all(line.endswith("FLOP") for line in lines[1:])
    assert contents(tmp_path) == before

    prepare(Digits(), Runtime(output_dir=str(tmp_path / "outputs")))
    short = ("runtime.tensorboard=false", "runtime.num_threads=1")
    output = said(tmp_path, "reproduce", "tables=[5]", "seeds=1", *short, here)
    lines = output.splitlines()
    assert lines[0].startswith("profile quick (no GPU is present): 1 of 3 runs to do, ")
    assert "runs: 1 finished, 2 were done before, 0 failed" in lines
    assert lines[-3].startswith("These numbers are not the paper's. ")
    assert "lossbench reproduce profile=paper" in lines[-3]
    assert lines[-2:] == ["tables and figures: outputs/report/quick", "open outputs/report/quick/index.html"]
    report = tmp_path / "outputs" / "report" / "quick"
    tables = contents(report)
    assert {"table5.csv", "table5.md", "table5.tex", "table5.html"} < set(tables)
    table = (report / "table5.md").read_text()
    assert table in output
    assert table.count("50.00 (n=1)") == 2
    assert table.count("(n=1)") == 3
    assert [path.name for path in (tmp_path / "outputs" / "runs").iterdir()] == [run_id(wanted[2])]
    shutil.rmtree(report)
    lines = said(tmp_path, "report", "tables=[5]", "seeds=1", here).splitlines()
    assert lines == ["tables and figures: outputs/report/quick", "open outputs/report/quick/index.html"]
    assert contents(report) == tables
    assert {path.name for path in tmp_path.iterdir()} == {"outputs", "results"}


def test_a_report_of_nothing_says_where_it_looked(tmp_path: Path) -> None:
    lines = said(tmp_path, "report", "tables=[5]", "profile=quick", "results_dir=results").splitlines()
    assert lines == [
        f"no runs in {tmp_path}/outputs/runs; runtime.output_dir names another folder than outputs",
        f"no committed records in {tmp_path}/results; results_dir names another folder than results",
        "tables and figures: outputs/report/quick",
        "open outputs/report/quick/index.html",
    ]


@pytest.mark.parametrize("encoding", ["ascii", pytest.param("latin-1", marks=pytest.mark.long)])
def test_what_a_terminal_cannot_write_is_replaced(encoding: str, tmp_path: Path) -> None:
    for config in configs([5], "quick", 1, Runtime()):
        commit_record(tmp_path / "results", config)
    own = environment() | {"PYTHONIOENCODING": encoding}
    for words in (
        ("reproduce", "profile=quick", "tables=[5]", "seeds=1", "results_dir=results"),
        ("report", "profile=quick", "tables=[5]", "results_dir=results", "runtime.output_dir='\u0394\u03b2'"),
        ("lossbench", "runs", "--committed", "--results-dir=results", "--output-dir=\u0394\u03b2"),
        ("lossbench", "runs", "--output-dir=\u0394\u03b2/none"),
    ):
        done = subprocess.run(command(*words), cwd=tmp_path, env=own, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b""), done.stderr
        if words[0] != "lossbench":  # click takes ASCII for a mistake and writes UTF-8
            assert done.stdout.decode(encoding)
            assert (b"??" in done.stdout) == ("\u0394" in words[-1])
    done = subprocess.run(command("train", "seed='\u0394'"), cwd=tmp_path, env=own, capture_output=True)
    assert (done.returncode, done.stderr.split(b"\n")[0]) == (1, b"lossbench: seed must be a whole number, got ?")
