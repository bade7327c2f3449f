"""`lossbench table`: means, counts, differences to a baseline, forms, and what it refuses."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kinds_of_runs import Invoke
from scipy import stats
from tables_of_runs import OUTPUTS, add, config, make_table

from lossbench import NUMERICS
from lossbench.cli import main as cli
from lossbench.cli.train import _train_all
from lossbench.config.options import Reduction
from lossbench.config.run import name_of, run_id
from lossbench.data.mnist_type import MnistType
from lossbench.engines.options import Local
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.runs.archive import publish
from lossbench.runs.folder import to_json
from lossbench.runs.inspect import entries
from lossbench.sweep.run_all import Summary
from lossbench.system.files import write_bytes


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 1
    return capsys.readouterr().err.removeprefix("lossbench: ").strip()


def rows(text: str) -> list[list[str]]:
    """The cells of a table on the terminal, without head and caption."""
    return [[part.strip() for part in line.split("  ") if part.strip()] for line in text.splitlines()[1:-1]]


def test_a_row_has_mean_sd_and_counts_of_the_runs_that_differ_in_their_seed(invoke: Invoke) -> None:
    make_table()
    said = invoke("table").stdout
    assert said.splitlines()[0].split("  ")[0] == "Loss"
    assert rows(said) == [
        ["LGL-INR", "1", "93.67 ± 2.52 (n=3) *"],
        ["LGL-INR", "4", "92.50 ± 0.71 (n=2, 1 diverged, 1 failed, 1 unfinished)"],
        ["SML", "–", "92.00 ± 2.00 (n=3)"],
    ]
    assert said.splitlines()[-1] == (
        "Test accuracy (%): mean ± standard deviation (ddof 1) over seeds, n runs; *, the best of each data set. "
        "Data set digits, network CNN2C. Device cpu (a processor), precision fp32, torch 2.0, commit unknown."
    )


def test_ties_as_rounded_are_all_marked_and_a_single_row_is_not(invoke: Invoke) -> None:
    add(config(Sml()), 0.91111)
    assert rows(invoke("table").stdout) == [["digits", "CNN2C", "SML", "91.11 (n=1)"]]
    add(config(Lgl()), 0.91109)
    add(config(LglInr()), 0.9110)
    assert [row[1] for row in rows(invoke("table").stdout)] == ["91.11 (n=1) *", "91.10 (n=1)", "91.11 (n=1) *"]


def test_the_best_is_that_of_its_data_set(invoke: Invoke) -> None:
    for name, sml, lgl in (("mnist", 0.99, 0.98), ("kmnist", 0.90, 0.95)):
        add(config(Sml(), dataset=MnistType(name=name)), sml)
        add(config(Lgl(), dataset=MnistType(name=name)), lgl)
    assert rows(invoke("table", "--rows", "loss", "--columns", "dataset").stdout) == [
        ["LGL", "95.00 (n=1) *", "98.00 (n=1)"],
        ["SML", "90.00 (n=1)", "99.00 (n=1) *"],
    ]
    head = invoke("table", "--columns", "dataset").stdout.splitlines()[0]
    assert head.split() == ["Loss", "KMNIST", "MNIST"]


def test_a_pivot_keeps_runs_apart_that_differ_in_more(invoke: Invoke) -> None:
    make_table()
    said = invoke("table", "--rows", "loss.beta", "--columns", "loss").stdout
    assert said.splitlines()[0].split() == ["beta", "LGL-INR", "SML"]
    assert [row[:2] for row in rows(said)] == [
        ["–", "92.00 ± 2.00 (n=3)"],
        ["1", "93.67 ± 2.52 (n=3) *"],
        ["4", "92.50 ± 0.71 (n=2, 1 diverged, 1 failed, 1 unfinished)"],
    ]
    head = invoke("table", "--columns", "loss.beta").stdout.splitlines()[0]
    assert [part.strip() for part in head.split("  ") if part] == ["Loss", "beta –", "beta 1", "beta 4"]


def test_differences_are_paired_over_common_seeds_and_corrected(invoke: Invoke) -> None:
    make_table()
    (one, four, sml) = json.loads(invoke("table", "--baseline", "loss=sml", "--format", "json").stdout)
    found = stats.ttest_rel([0.91, 0.94, 0.96], [0.90, 0.92, 0.94])
    interval = found.confidence_interval(0.95)
    assert one["baseline"]["mean"] == pytest.approx(0.05 / 3)
    assert (one["baseline"]["low"], one["baseline"]["high"]) == pytest.approx((interval.low, interval.high))
    assert one["baseline"]["p"] == pytest.approx(found.pvalue)
    assert one["baseline"]["n"] == 3
    assert one["baseline"]["p_holm"] == pytest.approx(min(1.0, 2 * found.pvalue))
    assert four["baseline"]["n"] == 2  # seed 2 diverged
    assert four["baseline"]["mean"] == pytest.approx(0.015)
    assert four["baseline"]["p"] is None  # of two pairs there is none
    assert four["baseline"]["p_holm"] is None
    assert one["baseline"]["runs"] == list(sml["runs"].values())
    assert "baseline" not in sml
    said = invoke("table", "--baseline", "loss=sml").stdout
    assert "Difference to SML" in said.splitlines()[0]
    low, high = 100 * interval.low, 100 * interval.high
    assert rows(said)[0][3:] == [f"+1.67 ({low:+.2f} to {high:+.2f}, n=3)", f"{2 * found.pvalue:.3f}"]
    assert rows(said)[2][3:] == ["–", "–"]
    pivot = invoke("table", "--baseline", "loss=sml", "--columns", "loss").stdout
    assert f"93.67 ± 2.52 (n=3); +1.67 ({low:+.2f} to {high:+.2f}, n=3) *" in pivot


def test_the_baseline_of_a_row_equals_it_in_all_other_options(invoke: Invoke) -> None:
    for lr, gain in ((0.01, 0.0), (0.1, 0.02)):
        for seed in (0, 1):
            add(config(Sml(), seed, lr), 0.90 + gain + seed / 100)
            add(config(LglInr(), seed, lr), 0.93 + seed / 100)
    by_row = {
        (row["options"]["loss"], row["options"]["schedule.lr"]): row.get("baseline")
        for row in json.loads(invoke("table", "--baseline", "loss=sml", "--format", "json").stdout)
    }
    assert by_row["lgl_inr", 0.01]["mean"] == pytest.approx(0.03)
    assert by_row["lgl_inr", 0.1]["mean"] == pytest.approx(0.01)
    assert by_row["sml", 0.01] is by_row["sml", 0.1] is None
    both = ("--baseline", "loss=sml", "--baseline", "schedule.lr=0.1", "--format", "json")
    by_row = {
        (row["options"]["loss"], row["options"]["schedule.lr"]): row.get("baseline")
        for row in json.loads(invoke("table", *both).stdout)
    }
    assert by_row["lgl_inr", 0.01]["mean"] == pytest.approx(0.01)
    assert by_row["sml", 0.01]["mean"] == pytest.approx(-0.02)
    assert by_row["sml", 0.1] is None


def test_losses_that_have_an_option_at_other_defaults_are_equal_in_it(invoke: Invoke) -> None:
    add(config(Lgl()), 0.90)  # reduction=mean
    add(config(LglInr()), 0.93)  # reduction=sum_classes
    (inr,) = json.loads(invoke("table", "loss=lgl_inr,lgl", "--baseline", "loss=lgl", "--format", "json").stdout)[1:]
    assert inr["baseline"]["mean"] == pytest.approx(0.03)
    assert invoke("table").stdout.splitlines()[0].split("  ")[0] == "Loss"
    assert "reduction" not in invoke("table").stdout
    add(config(LglInr(reduction=Reduction.mean)), 0.94)
    found = json.loads(invoke("table", "--baseline", "loss=lgl", "--format", "json").stdout)
    by_reduction = {row["options"]["loss.reduction"]: row for row in found if row["options"]["loss"] == "lgl_inr"}
    assert {key: "baseline" in row for key, row in by_reduction.items()} == {"mean": True, "sum_classes": True}
    assert "reduction" in invoke("table").stdout.splitlines()[0]


def test_a_baseline_that_several_rows_fit_gives_no_difference(invoke: Invoke) -> None:
    make_table()
    found = json.loads(invoke("table", "--baseline", "loss=lgl_inr", "--format", "json").stdout)
    assert all("baseline" not in row for row in found)  # of SML two are equal in all else
    one = json.loads(invoke("table", "--baseline", "loss.beta=4", "--format", "json").stdout)
    assert [("baseline" in row) for row in one] == [True, False, False]


def test_runs_on_other_devices_are_no_pairs_and_said_where_they_are_mixed(invoke: Invoke) -> None:
    add(config(Sml(), 0), 0.90)
    add(config(Sml(), 1), 0.91)
    add(config(LglInr(), 0), 0.92)
    add(config(LglInr(), 1), 0.95, device="cuda", versions={"torch": "2.1"})
    first, _ = json.loads(invoke("table", "--baseline", "loss=sml", "--format", "json").stdout)
    assert first["baseline"]["n"] == 1
    assert first["baseline"]["mean"] == pytest.approx(0.02)
    assert rows(invoke("table").stdout)[0] == ["LGL-INR", "93.50 ± 2.12 (n=2, cpu and cuda, torch 2.0 and 2.1) *"]


def test_runs_under_another_numerics_are_rows_of_their_own(invoke: Invoke) -> None:
    add(config(Sml(), 0), 0.90)
    run = add(config(Sml(), 1), 0.94)
    record = run.record() | {"numerics": NUMERICS - 1}
    record["run_id"] = name_of(record["config"], NUMERICS - 1)
    run.folder.rename(OUTPUTS / "runs" / record["run_id"])
    write_bytes(OUTPUTS / "runs" / record["run_id"] / "result.json", to_json(record))
    assert rows(invoke("table").stdout) == [[str(NUMERICS - 1), "94.00 (n=1) *"], [str(NUMERICS), "90.00 (n=1)"]]


def test_csv_and_json_have_every_digit_and_each_run(invoke: Invoke) -> None:
    make_table()
    frame = pd.read_csv(StringIO(invoke("table", "--format", "csv").stdout))
    assert list(frame["loss.beta"].fillna(-1)) == [1.0, 4.0, -1.0]
    assert frame["mean"][0] == np.mean([0.91, 0.94, 0.96])
    assert frame["sd"][0] == np.std([0.91, 0.94, 0.96], ddof=1)
    assert list(frame["n"]) == [3, 2, 3]
    assert list(frame["values"]) == ["0:0.91 1:0.94 2:0.96", "0:0.93 1:0.92", "0:0.9 1:0.92 2:0.94"]
    assert [frame[word][1] for word in ("diverged", "failed", "unfinished", "damaged")] == [1, 1, 1, 0]
    ids = [run_id(config(LglInr(beta=4.0), seed)) for seed in range(5)]
    assert frame["runs"][1].split() == ids
    one = json.loads(invoke("table", "loss.beta=4", "--format", "json").stdout)[0]
    assert one["values"] == {"0": 0.93, "1": 0.92}
    assert list(one["runs"].values()) == ids
    assert one["labels"] == {"dataset": "digits", "model": "CNN2C", "loss": "LGL-INR"}
    assert one["options"]["schedule.lr"] == 0.01


def test_documents_have_the_best_in_bold(invoke: Invoke) -> None:
    make_table()
    assert "| **93.67 ± 2.52 (n=3)**" in invoke("table", "--format", "md").stdout
    assert r"\textbf{93.67 $\pm$ 2.52 (n=3)}" in invoke("table", "--format", "tex").stdout
    page = invoke("table", "--format", "html").stdout
    assert page.startswith("<!doctype html>")
    assert "<td><strong>93.67 ± 2.52 (n=3)</strong></td>" in page
    assert page.count("<strong>") == 1


CHOSEN = [
    ("loss.beta=4", 1),
    ("loss.beta=1,4", 2),
    ("loss.beta=null", 1),
    ("loss=sml schedule.lr=0.01", 1),
    ("loss=sml,lgl_inr", 3),
    ("loss.detach_weights=false", 2),
    ("schedule.milestones=[]", 3),
    ("loss.class_weights=null", 3),
    ("status=unfinished,stopped", 1),
    ("seed=2 device=cpu", 3),
    ("loss.beta=4.0 seed=0", 1),
]


@pytest.mark.parametrize(("words", "num"), CHOSEN)
def test_any_option_chooses(words: str, num: int, invoke: Invoke) -> None:
    make_table()
    assert len(json.loads(invoke("table", *words.split(), "--format", "json").stdout)) == num


def test_a_choice_that_leaves_nothing_says_what_there_is(invoke: Invoke) -> None:
    make_table()
    result = invoke("table", "loss.beta=3")
    assert result.stdout == ""
    assert result.stderr == "none of 11 runs has loss.beta=3; there loss.beta is null, 1, 4\n"
    assert invoke("table", "--output-dir", "nowhere").stdout == ""
    assert "no runs in" in invoke("table", "--output-dir", "nowhere").stderr


WRONG = [
    ("loss.betta=4", "there is no option loss.betta; did you mean loss.beta?"),
    ("beta=4", "there is no option beta; did you mean loss.beta?"),
    ("schedule.lrr=4", "there is no option schedule.lrr; did you mean schedule.lr?"),
    ("sml", "sml is no OPTION=VALUE, such as loss.beta=4; did you mean loss=sml?"),
    ("--rows=los", "there is no option los; did you mean loss?"),
    ("--columns=seed", "seed names no row or column: a row has its runs of all seeds, whatever their runtime"),
    ("--baseline=loss=mine", "no runs fit the baseline loss=mine; the table has no such row"),
    ("--baseline=lss=sml", "there is no option lss; did you mean loss?"),
]


@pytest.mark.parametrize(("word", "sentence"), WRONG)
def test_what_there_is_not_is_refused_with_what_is_near(
    word: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_table()
    assert refused(capsys, "table", word) == sentence


def test_an_unknown_metric_is_refused_with_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    add(config(Sml()), 0.9, metrics={"test/perplexity": 3.0})
    said = refused(capsys, "table", "--metric", "acuracy")
    assert said.startswith("there is no metric acuracy; there are accuracy, best, train_accuracy, ")
    assert {"nll", "brier", "ece", "time", "perplexity"} <= set(said.partition("there are ")[2].split(", "))


def test_metrics_come_from_the_record_and_know_which_end_is_better(invoke: Invoke) -> None:
    def scores(compared: str, nll: float) -> dict[str, dict[str, float]]:
        one = {"nll": 9.0, "brier": 0.1, "ece": 0.02, "adaptive_ece": 0.02, "overconfidence": 0.01}
        maps = ("softmax", "sigmoid", "sigmoid_normalised", "tempered")
        return {name: one | ({"nll": nll} if name == compared else {}) for name in maps}

    of_sml, of_lgl = scores("softmax", 0.5), scores("sigmoid_normalised", 0.25)
    add(config(Sml()), 0.9, scores=of_sml, wall_s=12.34, metrics={"test/top5_accuracy": 0.99})
    add(config(Lgl()), 0.8, scores=of_lgl, wall_s=20.0)
    add(config(LglInr()), 0.7)
    assert rows(invoke("table", "--metric", "nll").stdout) == [
        ["LGL", "0.2500 (n=1) *"],
        ["LGL-INR", "– (1 without it)"],
        ["SML", "0.5000 (n=1)"],
    ]
    assert rows(invoke("table", "--metric", "time").stdout)[2] == ["SML", "12.3 (n=1) *"]
    assert rows(invoke("table", "--metric", "best").stdout)[2] == ["SML", "90.00 (n=1) *"]
    assert rows(invoke("table", "--metric", "top5_accuracy").stdout)[2] == ["SML", "99.00 (n=1)"]
    assert rows(invoke("table", "--metric", "area").stdout)[0] == ["LGL", "80.00 (n=1)"]


def test_labels_of_a_plugin_come_from_the_record_when_it_is_not_there(invoke: Invoke) -> None:
    for accuracy, digest in ((0.9, "a" * 64), (0.8, "b" * 64)):
        run = add(replace(config(Sml()), seed=int(10 * accuracy)), accuracy)
        record = run.record()
        record["config"] |= {"loss": {"name": "mine", "scale": 1.0}, "plugins": {"loss": digest}}
        record |= {
            "plugins": {"loss": {"label": "My loss", "maps": ["softmax"], "compared": "softmax", "sha256": digest}}
        }
        record["scores"] = {"softmax": dict.fromkeys(("nll", "brier", "ece", "adaptive_ece", "overconfidence"), 0.125)}
        record["run_id"] = name_of(record["config"], NUMERICS)
        run.folder.rename(OUTPUTS / "runs" / record["run_id"])
        write_bytes(OUTPUTS / "runs" / record["run_id"] / "result.json", to_json(record))
    add(config(Sml()), 0.7)
    found = json.loads(invoke("table", "loss=mine", "--metric", "nll", "--format", "json").stdout)
    assert {row["labels"]["loss"] for row in found} == {"My loss"}
    assert [row["mean"] for row in found] == [0.125] * len(found)
    assert any(row[0] == "My loss" for row in rows(invoke("table").stdout))


def test_committed_records_come_with_a_folder_or_a_flag(invoke: Invoke) -> None:
    add(config(Sml(), 0), 0.9)
    publish(OUTPUTS, Path("results"))
    add(config(Sml(), 1), 0.92)
    run = OUTPUTS / "runs" / run_id(config(Sml(), 0))
    run.rename("elsewhere")
    assert rows(invoke("table").stdout) == [["digits", "CNN2C", "SML", "92.00 (n=1)"]]
    both = [["digits", "CNN2C", "SML", "91.00 ± 1.41 (n=2)"]]
    assert rows(invoke("table", "--committed").stdout) == both
    assert rows(invoke("table", "--results-dir", "results").stdout) == both


def test_a_run_that_cannot_be_read_is_named(invoke: Invoke) -> None:
    add(config(Sml(), 0), 0.9)
    run = add(config(Sml(), 1), 0.9)
    write_bytes(run.folder / "result.json", b"{")
    assert rows(invoke("table").stdout) == [["digits", "CNN2C", "SML", "90.00 (n=1, 1 damaged)"]]
    write_bytes(run.folder / "config.json", b"{")
    result = invoke("table")
    assert rows(result.stdout) == [["digits", "CNN2C", "SML", "90.00 (n=1)"]]
    assert result.stderr == f"1 run without a readable config in no row: {run.id}\n"


def test_a_sweep_ends_with_the_table_of_its_runs_and_a_single_run_does_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_table()
    sweep = [config(LglInr(beta=beta), seed) for beta in (1.0, 4.0) for seed in (0, 1)]
    done = Summary(finished=[run_id(one) for one in sweep[1:]], skipped=[run_id(sweep[0])])
    monkeypatch.setattr("lossbench.engines.launch.run_all", lambda configs, *others: done)
    _train_all(sweep, Local())
    said = capsys.readouterr().out
    assert f"{run_id(sweep[0])} (beta 1, seed 0): finished before, test accuracy 0.9100\n" in said
    assert said.partition("\n\n")[2].splitlines() == [
        "beta  Test accuracy (%)",
        "1     92.50 ± 2.12 (n=2) *",
        "4     92.50 ± 0.71 (n=2) *",
        "Test accuracy (%): mean ± standard deviation (ddof 1) over seeds, n runs; *, the best of each data set. "
        "Data set digits, network CNN2C, loss LGL-INR.",
    ]
    monkeypatch.setattr(
        "lossbench.engines.launch.run_all", lambda configs, *others: Summary(finished=done.finished[:1])
    )
    _train_all(sweep[1:2], Local())
    assert capsys.readouterr().out == f"files: outputs/runs/{run_id(sweep[1])}\n"


def test_runs_are_chosen_and_sorted_by_any_option(invoke: Invoke) -> None:
    make_table()
    add(config(Sml(), 0, lr=0.1), 0.99)

    def listed(*words: str) -> list[str]:
        return [line["run_id"] for line in json.loads(invoke("runs", "--json", *words).stdout)]

    assert listed("loss.beta=4", "seed=1") == [run_id(config(LglInr(beta=4.0), 1))]
    assert listed("loss=sml", "--sort", "-accuracy")[:2] == [
        run_id(config(Sml(), 0, lr=0.1)),
        run_id(config(Sml(), 2)),
    ]
    assert listed("--sort", "-schedule.lr")[0] == run_id(config(Sml(), 0, lr=0.1))
    by_beta = listed("--sort", "loss.beta", "seed=0")
    assert by_beta[:2] == [run_id(config(LglInr(beta=beta), 0)) for beta in (1.0, 4.0)]
    assert len(listed("--sort", "loss.beta")) == len(entries(OUTPUTS))
    head, *lines = invoke("runs", "loss.beta=1,4", "seed=0", "--sort", "-loss.beta").stdout.splitlines()
    assert [part.strip() for part in head.split("  ") if part][:2] == ["run", "differs in"]
    assert [[part.strip() for part in line.split("  ") if part][1] for line in lines] == ["beta 4", "beta 1"]
    assert invoke("runs", "loss.beta=3").stdout == "none of 12 runs has loss.beta=3; there loss.beta is null, 1, 4\n"


def test_sorting_by_what_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    make_table()
    assert refused(capsys, "runs", "--sort", "acuracy") == "there is no option acuracy; did you mean accuracy?"
