"""Tables and figures from records that were never trained: every number against one worked out by hand."""

import hashlib
import json
import re
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from lossbench import NUMERICS
from lossbench.config.run import Config, Runtime, name_of, run_id
from lossbench.losses.lgl_inr import LglInr
from lossbench.runs.archive import publish
from lossbench.runs.folder import open_run
from lossbench.studies.aaai20.grid import LITERAL_HEAD, TABLES, cells, configs
from lossbench.studies.aaai20.report import profiles_with_records, write_report
from lossbench.studies.cells import Cell
from lossbench.studies.options import Reproduce, Selection

FILES = {f"table{table}.{form}" for table in TABLES for form in ("csv", "md", "tex", "html")}
FILES |= {f"{figure}.{form}" for figure in ("figure1", "figure1_classes", "figure2") for form in ("svg", "pdf", "csv")}
FILES |= {".drawn.json", "summary.md", "index.html", "report.md", "table2.md", "table2.html", "table2.tex"}
FORMS = ("svg", "pdf", "csv")
DRAWN = ("finding", "cells_beside_paper", "lr_curves", "beta")
JUDGED = {f"{picture}.{form}" for picture in DRAWN for form in FORMS}
JUDGED |= {f"{name}.{form}" for name in ("why_log_curves_p", "why_log_curves_z", "softmax_family") for form in FORMS}
JUDGED |= {f"many_classes_tradeoff.{form}" for form in FORMS}
"""What the paper's profile has beside, also without a pair of runs, where there is one of LGL-INR on KMNIST."""


def fields(config: Config, accuracy: float, **changes: Any) -> dict[str, Any]:
    """A record as training writes it; the accuracy climbs to a best two points above the last."""
    best = min(1.0, accuracy + 0.02)
    curve = [max(0.0, accuracy - 0.1), best, *[accuracy] * (config.schedule.epochs - 2)][: config.schedule.epochs]
    curve[-1] = accuracy
    best = max(curve)
    names = ("train/loss", "train/accuracy", "test/loss", "test/accuracy", "lr")
    return {
        "run_id": run_id(config),
        "numerics": NUMERICS,
        "config": asdict(config),
        "test_accuracy": accuracy,
        "test_accuracy_best": best,
        "test_accuracy_best_epoch": 2,
        "device": "cpu",
        "device_name": "Some Processor",
        "num_threads": 1,
        "precision": "fp32",
        "deterministic": False,
        "versions": {"torch": "9.8.7"},
        "commit": "0123456789abcdef",
        "curves": dict.fromkeys(names, curve) | {"train/accuracy": [min(1.0, value + 0.01) for value in curve]},
    } | changes


def confusion(correct: int) -> dict[str, np.ndarray]:
    """1,000 images a class, `correct` of them right, the others taken for the next class."""
    wrong = np.roll(np.eye(10, dtype=np.int64), 1, axis=1) * (1000 - correct)
    return {"confusion_matrix": np.eye(10, dtype=np.int64) * correct + wrong}


def finish(folder: Path, config: Config, accuracy: float, **changes: Any) -> Path:
    """Write a finished run below `folder`; returns its own folder."""
    config = replace(config, runtime=Runtime(output_dir=str(folder)))
    run = open_run(config)
    run.start(config)
    run.append_metrics({"epoch": 1, "test/accuracy": accuracy})
    (run.folder / "result.json").unlink(missing_ok=True)  # a record is never replaced
    run.finish(fields(config, accuracy, **changes), confusion(round(1000 * accuracy)))
    return run.folder


def fill(folder: Path, cell: Cell, accuracies: Iterable[float], **changes: Any) -> None:
    for seed, accuracy in enumerate(accuracies):
        finish(folder, replace(cell.config, seed=seed), accuracy, **changes)


def place(table: int, row: str, column: str, profile: str = "paper") -> Cell:
    (cell,) = [cell for cell in cells(table, profile) if (cell.row, cell.column) == (row, column)]
    return cell


def plan(folder: Path, **changes: Any) -> Reproduce:
    return replace(Reproduce(results_dir=None, runtime=Runtime(output_dir=str(folder))), **changes)


def line(folder: Path, table: int, row: str, column: str) -> dict[str, Any]:
    frame = pd.read_csv(folder / f"table{table}.csv", dtype={"column": str})
    (found,) = frame[(frame.row == row) & (frame.column == column)].to_dict("records")
    return {str(key): value for key, value in found.items()}


def text(folder: Path, table: int, form: str) -> str:
    return (folder / f"table{table}.{form}").read_text()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".claim"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a few records in each table; Table 5 shows one of Table 3's once more."""
    outputs = tmp_path_factory.mktemp("outputs")
    fill(outputs, place(3, "CNN2C LGL", "MNIST"), [0.99, 0.98, 0.97, 0.96, 0.95])
    fill(outputs, place(3, "CNN5C SML", "KMNIST"), [0.96, 0.97])
    fill(outputs, place(3, "CNN2C LGL-INR", "KMNIST"), [0.9643])
    gpu = {"device": "cuda", "device_name": "Some GPU", "precision": "tf32"}
    fill(outputs, place(4, "SML", "ResNet-18"), [0.91, 0.92, 0.93], **gpu)
    folder = write_report("paper", plan(outputs))
    assert folder == outputs / "report" / "paper"
    return folder


def test_numbers_come_out_as_by_hand(folder: Path) -> None:
    whole = line(folder, 3, "CNN2C LGL", "MNIST")
    assert whole["mean"] == pytest.approx(97.0, rel=1e-12)
    assert whole["sd"] == pytest.approx(2.5**0.5, rel=1e-12)
    assert (whole["n"], whole["n_wanted"], whole["paper"], whole["epoch"]) == (5, 5, 99.15, "last")
    assert whole["difference"] == pytest.approx(97.0 - 99.15, rel=1e-9)
    assert (whole["seeds"], whole["device"], whole["precision"]) == ("0 1 2 3 4", "Some Processor", "fp32")
    assert whole["runs"].split() == [run_id(config) for config in place(3, "CNN2C LGL", "MNIST").configs]
    part = line(folder, 3, "CNN5C SML", "KMNIST")
    assert (part["mean"], part["sd"]) == pytest.approx((96.5, 0.5**0.5), rel=1e-12)
    assert (part["n"], part["n_wanted"], part["paper"]) == (2, 5, 96.39)
    single = line(folder, 5, "Accuracy", "1")
    assert (single["mean"], single["difference"], single["n"]) == pytest.approx((96.43, 0.0, 1), abs=1e-9)
    assert np.isnan(single["sd"])
    gpu = line(folder, 4, "SML", "ResNet-18")
    assert (gpu["mean"], gpu["sd"], gpu["paper"]) == pytest.approx((92.0, 1.0, 91.32), rel=1e-12)
    assert (gpu["n"], gpu["n_wanted"], gpu["device"], gpu["precision"]) == (3, 3, "Some GPU", "tf32")
    gap = line(folder, 3, "CNN5C LGL", "FMNIST")
    assert (gap["n"], gap["n_wanted"], gap["paper"]) == (0, 5, 92.35)
    assert np.isnan([gap["mean"], gap["sd"], gap["difference"]]).all()
    assert [len(pd.read_csv(folder / f"table{table}.csv")) for table in TABLES] == [27, 6, 3]


def test_every_form_shows_the_same_entries(folder: Path) -> None:
    assert names(folder) == FILES | JUDGED
    for form in ("md", "tex", "html"):
        table3, table4, table5 = (text(folder, table, form).replace(r"$\pm$", "±") for table in TABLES)
        assert table3.count("97.00 ± 1.58 (n=5)") == 1
        assert table3.count("96.50 ± 0.71 (n=2 of 5)") == 1
        assert table3.count("missing") == 24
        assert re.search("97.00 ± 1.58 .*?99.15.*?missing.*?89.44.*?missing.*?94.37", table3, re.DOTALL)
        assert re.search("missing.*?99.47.*?missing.*?93.15.*?96.50 ± 0.71 .*?96.39", table3, re.DOTALL)
        assert LITERAL_HEAD in table3
        assert table4.count("missing") == 5
        assert re.search("91.11.*?92.00 ± 1.00 .n=3.*?91.32", table4, re.DOTALL)
        assert all(number in table4 for number in ("92.40", "91.55", "93.34", "93.68"))
        assert "96.43 (n=1 of 5)" in table5
        assert "96.43 ±" not in table5
        assert table5.count("missing") == 2
    lines = [entry for entry in text(folder, 3, "md").splitlines() if entry.startswith("| CNN2C ")]
    entries = [part.strip() for part in lines[0].strip("|").split("|")]
    assert entries == ["CNN2C", "LGL", "97.00 ± 1.58 (n=5)", "99.15", "missing", "89.44", "missing", "94.37"]
    tex = text(folder, 3, "tex")
    assert all(tex.count(f"\\{word}") == 1 for word in ("toprule", "bottomrule", "begin{tabular}", "end{tabular}"))
    assert not re.search(r"(?<!\\)[%&_#]", tex.partition(r"\caption{")[2].partition("\n")[0])
    for page in ("table3.html", "table4.html", "table5.html", "index.html"):
        assert (folder / page).read_text().startswith("<!doctype html>")
    assert all(text(folder, table, "md") in (folder / "summary.md").read_text() for table in TABLES)


def test_captions_name_rule_device_precision_and_n(folder: Path, tmp_path: Path) -> None:
    for form in ("md", "tex", "html"):
        said = text(folder, 3, form)
        for words in ("last epoch", "standard deviation (ddof 1)", "n runs", "cpu (Some Processor)", "precision fp32"):
            assert words in said
        assert "torch 9.8.7, commit 0123456789." in said
        assert "cuda (Some GPU), precision tf32" in text(folder, 4, form)
        assert "selected on the test set" not in said
    cell = place(5, "Accuracy", "2")
    assert "No runs yet." in text(write_report("paper", plan(tmp_path, tables=[5])), 5, "md")
    fill(tmp_path, cell, [0.9])
    finish(tmp_path, replace(cell.config, seed=2), 0.7, device="cuda", device_name="A GPU", commit=None)
    said = text(write_report("paper", plan(tmp_path, tables=[5])), 5, "md")
    assert "cpu, cuda (Some Processor, A GPU)" in said
    assert "commit 0123456789, unknown." in said


def test_the_best_epoch_is_labelled_as_selected_on_the_test_set(tmp_path: Path) -> None:
    fill(tmp_path, place(5, "Accuracy", "2"), [0.90, 0.92])
    folder = write_report("paper", plan(tmp_path, tables=[4, 5], selection=Selection.best))
    best = line(folder, 5, "Accuracy", "2")
    assert (best["mean"], best["epoch"]) == (pytest.approx(93.0), "best")
    assert names(folder) == {name for name in FILES | JUDGED if not re.match("table3|figure", name)}
    for form in ("md", "tex", "html"):
        assert "93.00" in text(folder, 5, form)
        for table in (4, 5):
            assert "best epoch, selected on the test set" in text(folder, table, form)
            assert "last epoch" not in text(folder, table, form)


def test_only_a_cells_own_runs_fill_it(tmp_path: Path) -> None:
    cell = place(3, "CNN2C LGL-INR", "KMNIST")
    fill(tmp_path, cell, [0.95])
    finish(tmp_path, replace(cell.config, loss=LglInr(beta=1.5)), 0.1)
    finish(tmp_path, replace(cell.config, schedule=replace(cell.config.schedule, epochs=2)), 0.1)
    finish(tmp_path, replace(cell.config, dataset=replace(cell.config.dataset, num_train=100)), 0.1)
    other_seed, *planned = (finish(tmp_path, replace(cell.config, seed=seed), 0.1) for seed in (11, 5, 2000))
    unfinished = finish(tmp_path, replace(cell.config, seed=1), 0.1)
    (unfinished / "result.json").unlink()
    (tmp_path / "runs" / ".DS_Store").write_text("no run")
    folder = write_report("paper", plan(tmp_path, tables=[4, 5]))
    assert pd.read_csv(folder / "table4.csv").n.sum() == 0
    assert pd.read_csv(folder / "table5.csv").n.tolist() == [1, 0, 0]
    assert line(folder, 5, "Accuracy", "1")["mean"] == 95.0
    said = (folder / "summary.md").read_text()
    assert f"1 run has a seed that the tables do not show (seeds=N shows more): {other_seed.name}" in said
    assert [run.name for run in planned if run.name in said] == []  # a blind seed, and one of the section on traces
    write_report("paper", plan(tmp_path, tables=[3, 5], seeds=6))
    assert line(folder, 5, "Accuracy", "1")["seeds"] == "0 5"
    figure = pd.read_csv(folder / "figure1.csv")
    assert figure.loc[figure.loss == "LGL-INR", "mean"].max() == (950 + 100) / 2


def check_figures(folder: Path) -> None:
    for name in ("figure1", "figure2"):
        svg, pdf = (folder / f"{name}.svg").read_bytes(), (folder / f"{name}.pdf").read_bytes()
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        assert pdf.startswith(b"%PDF-")
        assert pdf.rstrip().endswith(b"%%EOF")


def test_figures_with_and_without_records_and_arrays(tmp_path: Path) -> None:
    folder = write_report("paper", plan(tmp_path))
    check_figures(folder)
    assert len(pd.read_csv(folder / "figure1.csv")) == len(pd.read_csv(folder / "figure2.csv")) == 0
    fill(tmp_path, place(3, "CNN2C SML", "KMNIST"), [0.9, 0.8])
    write_report("paper", plan(tmp_path))
    check_figures(folder)
    matrices = pd.read_csv(folder / "figure1.csv").set_index(["loss", "true", "predicted"])
    assert len(matrices) == 100
    assert matrices.loc[("SML", 3, 3), ["mean", "n"]].tolist() == [850, 2]
    assert matrices.loc[("SML", 3, 4), "mean"] == 150
    assert matrices.loc[("SML", 4, 3), "mean"] == 0
    assert matrices.paper.dropna().to_dict() == {("SML", 0, 4): 18, ("SML", 1, 1): 945}
    curves = pd.read_csv(folder / "figure2.csv")
    curve = curves[(curves.split == "test") & (curves.loss == "SML") & (curves.dataset == "KMNIST")]
    assert curve.epoch.tolist() == list(range(1, 21))
    assert curve["mean"].tolist() == pytest.approx([75.0, 87.0, *[85.0] * 18])
    assert set(curve.n) == {2}
    assert curves[curves.split == "train"]["mean"].tolist() == pytest.approx([76.0, 88.0, *[86.0] * 18])
    assert len(curves) == 40
    for arrays in (tmp_path / "runs").glob("*/arrays.npz"):
        arrays.unlink()
    write_report("paper", plan(tmp_path))
    check_figures(folder)
    assert len(pd.read_csv(folder / "figure1.csv")) == 0
    assert len(pd.read_csv(folder / "figure2.csv")) == 40


def test_the_quick_report_has_one_column_and_no_paper(tmp_path: Path) -> None:
    for table in TABLES:
        for cell in cells(table, "quick"):
            fill(tmp_path, cell, [0.5, 0.6])
    folder = write_report("quick", plan(tmp_path))
    for table, num_rows in zip(TABLES, (9, 6, 3), strict=True):
        frame = pd.read_csv(folder / f"table{table}.csv")
        assert (len(frame), set(frame.column), set(frame.n)) == (num_rows, {"digits"}, {2})
        assert frame[["paper", "difference"]].isna().all(axis=None)
        assert text(folder, table, "md").count("55.00 ± 7.07 (n=2)") == num_rows
        assert "quick profile" in text(folder, table, "md")
        assert "(paper)" not in text(folder, table, "md")
    assert names(folder) == FILES
    check_figures(folder)
    matrices = pd.read_csv(folder / "figure1.csv")
    assert (len(matrices), set(matrices.loss)) == (300, {"LGL", "SML", "LGL-INR"})
    assert matrices.paper.isna().all()
    assert set(pd.read_csv(folder / "figure2.csv").dataset) == {"digits"}


def test_committed_and_own_records_fill_cells_together(tmp_path: Path) -> None:
    cell = place(5, "Accuracy", "2")
    own, other, results = tmp_path / "own", tmp_path / "other", tmp_path / "results"
    fill(other, cell, [0.90, 0.91, 0.92])
    publish(other, results)
    fill(own, cell, [0.90])
    finish(own, replace(cell.config, seed=4), 0.99)
    folder = write_report("paper", plan(own, tables=[5], results_dir=str(results)))
    assert line(folder, 5, "Accuracy", "2")["mean"] == pytest.approx((90 + 91 + 92 + 99) / 4)
    assert line(folder, 5, "Accuracy", "2")["seeds"] == "0 1 2 4"
    write_report("paper", plan(own, tables=[5]))
    assert line(folder, 5, "Accuracy", "2")["seeds"] == "0 4"
    finish(own, replace(cell.config, seed=2), 0.93)
    write_report("paper", plan(own, tables=[5], results_dir=str(results)))
    assert line(folder, 5, "Accuracy", "2")["seeds"] == "0 1 4"
    for name in ("summary.md", "index.html"):
        assert "disagree: test_accuracy 0.93 beside" in (folder / name).read_text()


def test_failed_runs_are_shown_and_never_averaged(tmp_path: Path) -> None:
    some, all_failed = place(5, "Accuracy", "2"), place(5, "Accuracy", "4")
    fill(tmp_path, some, [0.90, 0.92])
    for config in (
        replace(some.config, seed=2),
        replace(all_failed.config, seed=0),
        replace(all_failed.config, seed=1),
    ):
        config = replace(config, runtime=Runtime(output_dir=str(tmp_path)))
        open_run(config).start(config)
        open_run(config).fail("FloatingPointError: the loss is nan")
    folder = write_report("paper", plan(tmp_path, tables=[5]))
    for form in ("md", "html"):
        assert "91.00 ± 1.41 (n=2 of 5, 1 failed)" in text(folder, 5, form)
        assert "failed (2 of 5)" in text(folder, 5, form)
    assert [line(folder, 5, "Accuracy", beta)["n_failed"] for beta in ("1", "2", "4")] == [0, 1, 2]
    assert (folder / "summary.md").read_text().count(" failed: FloatingPointError: the loss is nan") == 3
    fill(tmp_path, some, [0.90, 0.92, 0.94])  # it went well the next time
    write_report("paper", plan(tmp_path, tables=[5]))
    assert "92.00 ± 2.00 (n=3 of 5)" in text(folder, 5, "md")


def test_a_cell_that_mixes_devices_says_so(tmp_path: Path) -> None:
    cell = place(5, "Accuracy", "2")
    fill(tmp_path, cell, [0.90, 0.92])
    finish(tmp_path, replace(cell.config, seed=2), 0.94, device="cuda", device_name="Some GPU")
    folder = write_report("paper", plan(tmp_path, tables=[5]))
    assert "92.00 ± 2.00 (n=3 of 5, cpu and cuda)" in text(folder, 5, "md")


def test_no_record_is_dropped_in_silence(tmp_path: Path) -> None:
    cell = place(5, "Accuracy", "2")
    fill(tmp_path, cell, [0.90, 0.92, 0.94])
    damaged, touched, old = (finish(tmp_path, replace(cell.config, seed=seed), 0.5) for seed in range(3))
    (damaged / "result.json").write_bytes((damaged / "result.json").read_bytes()[:-9])
    (touched / "arrays.npz").write_bytes(b"no arrays")
    fields = json.loads((old / "result.json").read_text())
    name = name_of(fields["config"], NUMERICS + 1)
    (old / "result.json").write_text(json.dumps(fields | {"numerics": NUMERICS + 1, "run_id": name}))
    old.rename(old.with_name(name))
    folder = write_report("paper", plan(tmp_path))
    assert line(folder, 5, "Accuracy", "2")["seeds"] == 1
    for page in ("summary.md", "index.html"):
        said = (folder / page).read_text()
        assert f"{damaged / 'result.json'} holds a damaged record" in said
        assert f"{touched / 'arrays.npz'} is not what {touched.name} wrote" in said
        assert f"1 runs made under another NUMERICS than {NUMERICS}: {name}" in said


def test_the_profiles_that_have_records_are_known(tmp_path: Path) -> None:
    assert profiles_with_records(plan(tmp_path)) == []
    fill(tmp_path, place(4, "ResNet-18 SML", "digits", "quick"), [0.5])
    assert profiles_with_records(plan(tmp_path)) == ["quick"]
    fill(tmp_path, place(5, "Accuracy", "4"), [0.9])
    assert profiles_with_records(plan(tmp_path)) == ["paper", "quick"]


@pytest.mark.long
def test_a_thousand_records_cost_little_more_than_the_pictures(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", **confusion(900))
    digest = hashlib.sha256((tmp_path / "arrays.npz").read_bytes()).hexdigest()

    def seconds(num_seeds: int) -> float:
        place, every = tmp_path / str(num_seeds), configs(TABLES, "paper", num_seeds, Runtime())
        assert len(every) == 35 * num_seeds
        for config in every:
            folder = place / "runs" / run_id(config)
            folder.mkdir(parents=True)
            (folder / "config.json").write_text("{}")
            (folder / "result.json").write_text(json.dumps(fields(config, 0.9, arrays_sha256=digest)))
            (folder / "arrays.npz").hardlink_to(tmp_path / "arrays.npz")
        began = time.process_time()
        write_report("paper", plan(place, seeds=num_seeds))
        return time.process_time() - began

    few, many = seconds(1), seconds(29)
    assert many < 3 * few  # each drawn once, whatever the processor
    folder = tmp_path / "29" / "report" / "paper"
    frames = [pd.read_csv(folder / f"table{table}.csv") for table in TABLES]
    assert [set(frame.n) for frame in frames] == [{29}] * 3
    assert text(folder, 3, "md").count("90.00 ± 0.00 (n=29)") == 27
