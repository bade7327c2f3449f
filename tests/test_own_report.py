"""The page of one's own runs: which runs it has, what its figures are made of, for any data set and loss."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn import check, legend_of, words
from made_runs import arrays
from page_tree import Tree
from tables_of_runs import OUTPUTS, add, config, make_table, stop

from lossbench.cli.report import _report
from lossbench.config.run import Runtime
from lossbench.data.digits import Digits
from lossbench.data.mnist_type import MnistType
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.report import own, own_figures
from lossbench.report.own import parts_of, write_own
from lossbench.runs.groups import grouped
from lossbench.runs.inspect import entries
from lossbench.statistics.calibration import calibration
from lossbench.studies.options import Profile, Reproduce


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def page() -> Tree:
    return Tree((OUTPUTS / "report" / "own" / "index.html").read_text())


def logits(seed: int, num: int = 200) -> dict[str, np.ndarray]:
    """Arrays of a run with two classes, of which 9 of 10 samples are right."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num) % 2
    right = np.arange(num) % 10 > 0
    predicted = np.where(right, labels, 1 - labels)
    z = np.zeros((num, 2), np.float16)
    z[np.arange(num), predicted] = rng.uniform(0.5, 3.0, num)
    matrix = np.array([[((labels == j) & (predicted == k)).sum() for k in (0, 1)] for j in (0, 1)])
    return {
        "test_logits": z,
        "test_labels": labels.astype(np.uint8),
        "test_predictions": predicted.astype(np.uint8),
        "confusion_matrix": matrix,
    }


def test_runs_of_a_study_or_a_profile_are_not_one_s_own() -> None:
    add(config(Sml(), 0), 0.9)
    add(config(Sml(), 1, experiment="imbalance"), 0.9)
    add(config(Sml(), 2, profile="quick"), 0.9)
    assert [entry.words["seed"] for entry in entries(OUTPUTS) if entry.made_for_no_study] == ["0"]


def test_a_report_of_own_runs_alone_is_their_page_and_no_empty_one(capsys: pytest.CaptureFixture[str]) -> None:
    make_table()
    plan = Reproduce(results_dir=None, runtime=Runtime(output_dir=str(OUTPUTS)))
    _report(plan)
    assert capsys.readouterr().out.splitlines() == [
        "your own runs: outputs/report/own",
        "open outputs/report/own/index.html",
    ]
    assert [path.name for path in (OUTPUTS / "report").iterdir()] == ["own"]
    tree = page()
    assert tree.texts("h1") == ["Your runs"]
    assert tree.texts("h2") == [
        "Test accuracy",
        "Learning curves",
        "Confusion matrices",
        "What failed or is not finished",
    ]
    assert tree.texts("strong") == ["93.67 ± 2.52 (n=3)"]
    paragraphs = tree.texts("p")
    assert (
        paragraphs[0] == "11 runs that belong to no study, in 3 rows: 8 finished, 1 diverged, 1 failed, 1 unfinished."
    )
    items = tree.texts("li")
    assert items[0] == "digits: LGL-INR, beta 1, 93.67 ± 2.52 (n=3)"
    assert any("(lgl_inr, beta 4, seed 3): failed, OSError: the disk is full" in item for item in items)
    assert any("(lgl_inr, beta 4, seed 4): stopped, epoch 0 of 20" in item for item in items)
    assert any("(lgl_inr, beta 4, seed 2): diverged, epoch 3, step 7" in item for item in items)
    assert (OUTPUTS / "report" / "own" / "table.csv").read_text().startswith("dataset,model,loss,")


def test_a_named_profile_is_written_beside_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    add(config(Sml()), 0.9)
    runtime = Runtime(output_dir=str(OUTPUTS))
    _report(Reproduce(profile=Profile.quick, tables=[5], seeds=1, results_dir=None, runtime=runtime))
    assert capsys.readouterr().out.splitlines() == [
        "tables and figures: outputs/report/quick",
        "your own runs: outputs/report/own",
        "open outputs/report/quick/index.html",
        "open outputs/report/own/index.html",
    ]


def test_without_own_runs_there_is_no_such_page(capsys: pytest.CaptureFixture[str]) -> None:
    add(config(Sml(), experiment="imbalance"), 0.9)
    _report(Reproduce(tables=[5], seeds=1, results_dir=None, runtime=Runtime(output_dir=str(OUTPUTS))))
    assert capsys.readouterr().out.splitlines() == [
        "tables and figures: outputs/report/paper",
        "open outputs/report/paper/index.html",
    ]


def test_groups_are_named_by_what_differs_on_their_data_set_the_best_first() -> None:
    add(config(Sml()), 0.90)
    add(config(LglInr(beta=1.0)), 0.91)
    add(config(LglInr(beta=4.0)), 0.95)
    add(config(Sml(), dataset=MnistType(name="kmnist")), 0.90)
    digits, kmnist = parts_of(grouped(entries(OUTPUTS)))
    assert (digits.title, kmnist.title) == ("digits", "KMNIST")
    assert [name for name, _ in digits.groups] == ["LGL-INR, beta 4", "LGL-INR, beta 1", "SML"]
    assert [name for name, _ in kmnist.groups] == ["SML"]


def test_figures_have_the_values_of_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {seed: logits(seed) for seed in (0, 1)}
    for seed in (0, 1):
        curves = {f"{split}/accuracy": [*[0.1 * (seed + 1)] * 19, 0.9] for split in ("test", "train")}
        add(config(Sml(), seed), 0.9, given[seed], curves=curves)
    drawn = {}
    for name in ("learning_curves", "confusion_matrices", "reliability"):

        def keep(*arguments: object, name: str = name) -> object:
            drawn[name] = arguments
            return getattr(own_figures, name)(*arguments)

        monkeypatch.setattr(own, name, keep)
    write_own(OUTPUTS / "page", entries(OUTPUTS))
    assert drawn["learning_curves"][1] == "digits"
    curves_drawn = drawn["learning_curves"][2]["SML"]  # type: ignore[index]
    assert curves_drawn["test"].shape == (2, 20)
    assert curves_drawn["train"][:, 0].tolist() == [0.1, 0.2]
    assert drawn["confusion_matrices"][2]["SML"].tolist() == [[160, 40], [0, 200]]  # type: ignore[index]
    assert drawn["confusion_matrices"][3] == ["0", "1"]
    found = drawn["reliability"][2]["SML"]  # type: ignore[index]
    wanted = [calibration(one["test_logits"], one["test_labels"], "softmax").scores for one in given.values()]
    assert [one.scores for one in found] == wanted
    names = {path.name for path in (OUTPUTS / "page").iterdir() if not path.name.startswith(".")}
    pictures = {
        f"data1_{name}.{form}" for name in ("curves", "confusion", "reliability") for form in ("svg", "pdf", "csv")
    }
    assert names == pictures | {"index.html", "report.md", "table.csv"}
    text = (OUTPUTS / "page" / "report.md").read_text()
    assert "SML: 90.0 % of a class are right on average; most often 0 is taken for 1, 20.0 %." in text
    ece = np.mean([one.ece for one in wanted])
    assert f"SML: ECE {ece:.4f}, mean over n=2." in text


def test_a_line_is_the_mean_and_a_band_the_range() -> None:
    curves = {split: np.array([[0.5, 0.8], [0.7, 0.9]]) for split in ("test", "train")}
    picture = own_figures.learning_curves("x", "digits", {"mine": curves})
    figure = check(picture)
    axes = figure.axes[0]
    (line,) = axes.lines
    assert line.get_ydata().tolist() == pytest.approx([60.0, 85.0])  # type: ignore[union-attr]
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((50.0, 90.0))
    assert legend_of(figure) == ["mine (n=2)"]
    assert "mine, test: 60.00 % after epoch 1, 85.00 % after epoch 2." in picture.alt
    assert picture.data is not None
    rows = picture.data.query("split == 'test'")
    assert rows["mean_percent"].tolist() == pytest.approx([60, 85])
    assert rows["low_percent"].tolist() == pytest.approx([50, 80])
    assert rows["n"].tolist() == [2, 2]


def test_curves_of_one_epoch_are_markers_and_long_names_are_broken() -> None:
    name = "LGL-INR, learning rate 0.003, class weights effective, beta 4"
    curves = {name: {split: np.array([[0.3], [0.5]]) for split in ("test", "train")}}
    figure = check(own_figures.learning_curves("x", "digits", curves), widest=5.6)
    assert [(line.get_marker(), list(line.get_xydata()[0])) for line in figure.axes[0].lines] == [("s", [1, 40])]
    (text,) = legend_of(figure)
    assert text.replace("\n", " ") == f"{name} (n=2)"
    assert max(map(len, text.split("\n"))) <= 34


def test_matrices_have_one_scale_and_leave_out_what_is_rare() -> None:
    classes = ["coat", "shirt", "bag"]
    few = {"SML": np.array([[100, 96, 4], [0, 200, 0], [0, 0, 0]]), "LGL": np.diag([200, 200, 200])}
    few["LGL"][0] = [176, 24, 0]
    few["LGL"][1, 2] = 1
    picture = own_figures.confusion_matrices("x", "fmnist", few, classes)
    sml, lgl = check(picture).axes
    assert words(sml) == ["50", "48", "2", "100"]  # the class without samples has no number
    assert words(lgl) == ["88", "12", "100", "100"]  # half a percent is not written
    assert max(patch.get_alpha() for patch in sml.patches) == pytest.approx(0.5)
    assert max(patch.get_alpha() for patch in lgl.patches) == pytest.approx(0.25)  # the root of 12 / 48
    assert [label.get_text() for label in sml.get_xticklabels()] == classes
    assert picture.data is not None
    row = picture.data.query("group == 'SML' and true_class == 'coat' and predicted_class == 'shirt'").iloc[0]
    assert (row["samples"], row["percent"]) == (96, 48)
    assert "SML: 50.0 % of a class are right on average; most often coat is taken for shirt, 48.0 %." in picture.alt


def test_reliability_is_accuracy_less_confidence_in_bins() -> None:
    runs = [calibration(one["test_logits"], one["test_labels"], "softmax") for one in map(logits, (0, 1))]
    picture = own_figures.reliability("x", "digits", {"mine": runs})
    (axes,) = check(picture).axes
    _, line, *_ = axes.lines
    counts = runs[0].counts + runs[1].counts
    known = counts > 0
    accuracy, confidence = (
        100 * sum(np.nan_to_num(getattr(run, what)) * run.counts for run in runs)[known] / counts[known]
        for what in ("accuracy", "confidence")
    )
    assert np.asarray(line.get_xdata()) == pytest.approx(confidence)
    assert np.asarray(line.get_ydata()) == pytest.approx(accuracy - confidence)
    assert picture.data is not None
    assert picture.data["samples"].sum() == 400
    assert picture.data["accuracy_percent"].tolist() == pytest.approx(accuracy.tolist())


def test_scores_are_a_table_with_the_best_in_bold() -> None:
    def scores(nll: float) -> dict[str, dict[str, float]]:
        one = {"nll": nll, "brier": 0.1, "ece": 0.02, "adaptive_ece": 0.02, "overconfidence": 0.01}
        return dict.fromkeys(("softmax", "sigmoid", "sigmoid_normalised", "tempered"), one)

    add(config(Sml(), 0), 0.9, scores=scores(0.5))
    add(config(Sml(), 1), 0.9, scores=scores(0.7))
    add(config(Lgl()), 0.8, scores=scores(0.25))
    write_own(OUTPUTS / "report" / "own", entries(OUTPUTS))
    cells = page().texts("td")
    assert "0.6000 ± 0.1414" in cells
    assert page().texts("strong").count("0.2500") == 2  # NLL, and after a temperature


def test_many_classes_and_many_rows_are_left_out_of_figures_and_said() -> None:
    many = {"confusion_matrix": np.diag(np.full(21, 10))}
    many["confusion_matrix"][0, :2] = [0, 10]
    wrong = 10 / 210
    for number in range(9):
        add(config(LglInr(beta=float(number))), 1 - wrong, many)
    write_own(OUTPUTS / "report" / "own", entries(OUTPUTS))
    tree = page()
    assert "Confusion matrices" not in tree.texts("h2")
    assert "digits, the 8 best of 9 rows: accuracy over the epochs" in " ".join(tree.texts("figcaption"))
    assert len(tree.texts("svg")) == 1


def test_a_data_set_and_a_loss_that_are_not_registered_have_their_page() -> None:
    run = add(config(Sml()), 0.9, arrays(0.9))
    (entry,) = entries(OUTPUTS)
    odd = {**entry.config, "dataset": {"name": "theirs"}, "loss": {"name": "mine"}}
    assert entry.record is not None
    record = replace(entry.record, fields={**entry.record.fields, "config": odd})
    write_own(OUTPUTS / "report" / "own", [replace(entry, record=record, config=odd)])
    assert run.finished
    assert page().texts("th")[-3:] == ["theirs", "CNN2C", "theirs, CNN2C, mine"]


def test_damaged_arrays_are_named_and_the_page_is_written() -> None:
    run = add(config(Sml(), 0), 0.9)
    add(config(Sml(), 1), 0.9)
    (run.folder / "arrays.npz").write_bytes(b"nothing")
    write_own(OUTPUTS / "report" / "own", entries(OUTPUTS))
    tree = page()
    assert any(f"is not what {run.id} wrote" in item for item in tree.texts("li"))
    assert "Confusion matrices" in tree.texts("h2")


def test_runs_that_have_not_begun_to_finish_have_a_page_without_figures() -> None:
    stop(config(Sml()))
    write_own(OUTPUTS / "report" / "own", entries(OUTPUTS))
    assert page().texts("h2") == ["Test accuracy", "What failed or is not finished"]
    assert "– (1 unfinished)" in page().texts("td")


def test_of_very_many_rows_and_runs_the_page_has_some_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("MOST_ROWS", 4), ("MOST_LINES", 2), ("MOST_PARTS", 1), ("MOST_BEST", 1)):
        monkeypatch.setattr(own, name, most)
    for number in range(6):
        add(config(LglInr(beta=float(number))), 0.8 + number / 100)
        add(config(LglInr(beta=float(number)), dataset=Digits(num_train=100)), 0.5)
        stop(config(Sml(), number))
    write_own(OUTPUTS / "report" / "own", entries(OUTPUTS))
    tree = page()
    paragraphs, items = " ".join(tree.texts("p")), tree.texts("li")
    assert "4 of 13 rows are shown, the best ones of each data set; table.csv has all." in paragraphs
    assert "No figures are drawn of 1 more data set." in paragraphs
    assert any(item.startswith("and 4 more, which lossbench runs") for item in items)
    cells = tree.texts("td")
    assert sum("85.00 (n=1)" in cell for cell in cells) == 1  # the best of a data set
    assert not any("80.00 (n=1)" in cell for cell in cells)
    assert len((OUTPUTS / "report" / "own" / "table.csv").read_text().splitlines()) == 14
    assert len(tree.texts("svg")) == 2  # curves and confusion matrices of one data set
