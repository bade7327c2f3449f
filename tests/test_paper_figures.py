"""Figures 1 and 2 from inputs made by hand: what is drawn, what the CSV has, and what is said without runs."""

import hashlib
import math
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import check, figure_of, finite, legend_of, points, words
from matplotlib.collections import PolyCollection
from matplotlib.patches import PathPatch, Rectangle

from lossbench.report.classes import class_names
from lossbench.report.style import STYLES
from lossbench.runs.records import Record
from lossbench.statistics.inference import Pairs, paired_t
from lossbench.studies.aaai20.grid import figure_cells
from lossbench.studies.aaai20.sections.figures import Confusions, confusions, figure1, figure1_classes, figure2
from lossbench.studies.tables import Filled


def matrix(*rows: tuple[int, ...]) -> np.ndarray:
    return np.array(rows)


NAMES = ("o", "ki")
SOME = [
    Confusions("LGL", "KMNIST", {0: matrix((8, 2), (4, 6)), 1: matrix((6, 4), (0, 10))}, {}, NAMES),
    Confusions("SML", "KMNIST", {}, {(0, 1): 18, (1, 1): 945}, NAMES),
    Confusions(
        "LGL-INR",
        "KMNIST",
        {1: matrix((9, 1), (0, 10)), 2: matrix((10, 0), (5, 5))},
        {(0, 1): 6, (4, 4): 1},
        NAMES,
    ),
]


def test_confusion_matrices_show_the_mean_and_the_papers_counts() -> None:
    picture = figure1(SOME)
    figure = check(picture)
    first, missing, last = figure.axes
    assert [axes.get_title() for axes in figure.axes] == [
        "LGL: 75.0 % right, n=2",
        "SML, n=0",
        "LGL-INR: 85.0 % right, n=2",
    ]
    assert words(first) == ["7", "3", "2", "8"]
    assert words(missing) == ["missing"]
    assert words(last) == ["10", "2", "8"]  # half an image is not written
    assert [label.get_text() for label in first.get_yticklabels()] == ["o", "ki"]
    shades = {
        (round(patch.get_path().vertices[:, 0].min()), round(patch.get_path().vertices[:, 1].min())): patch.get_alpha()
        for patch in first.patches
        if isinstance(patch, PathPatch)
    }
    assert shades == {(1, 0): pytest.approx(0.5), (0, 1): pytest.approx(0.4)}  # 3 is most; the root of 2/3, in tenths
    (half,) = [patch.get_alpha() for patch in last.patches if isinstance(patch, PathPatch) and patch.get_alpha() < 0.3]
    assert half == pytest.approx(0.2)  # the root of 0.5 / 3
    assert [patch.get_xy() for patch in last.patches if isinstance(patch, Rectangle)] == [(1, 0)]
    assert last.get_xlabel() == "predicted class\no taken for ki: 0.5 (paper 6)\n4 right: missing (paper 1)"
    assert first.yaxis_inverted()
    assert picture.data is not None
    assert picture.data.query("loss == 'LGL'")["mean"].tolist() == [7, 3, 2, 8]
    assert picture.data.query("loss == 'LGL-INR'")["paper"].fillna(0).tolist() == [0, 6, 0, 0]
    assert picture.data["predicted_class"].tolist() == ["o", "ki"] * 4
    for told in ("LGL, n=2: 75.0 % right, least in class o, 70.0 %; most often o is taken for ki, 3.0", "SML: missing"):
        assert told in picture.alt


def test_differences_by_class_pair_the_seeds() -> None:
    both = {0: matrix((10, 0), (1, 9)), 1: matrix((9, 1), (0, 10))}
    picture = figure1_classes([*SOME[:2], replace(SOME[2], matrices=both)])
    first, missing = check(picture).axes
    assert first.get_title() == "LGL-INR - LGL, n=2"
    (means,), (dots,) = points(first, "LGL", "s"), points(first, "LGL", ".")
    assert [x for x, _ in dots] == pytest.approx([20, 30, 30, 0])
    assert [round(y) for _, y in dots] == [0, 0, 1, 1]
    assert means == [(pytest.approx(25), -0.1), (pytest.approx(15), 0.9)]
    one = paired_t(Pairs((30.0, 0.0), 0, 0))
    (bars,) = map(finite, points(first, "LGL", "None"))
    assert bars[2:] == [(pytest.approx(one.low), 0.9), (pytest.approx(one.high), 0.9)]
    assert words(first) == ["2/2", "1/2"]
    assert words(missing) == ["missing"]
    assert [label.get_text() for label in first.get_yticklabels()] == ["o", "ki"]
    assert picture.data is not None
    assert picture.data["class_name"].tolist() == ["o"] * 3 + ["ki"] * 3
    assert picture.data["seed"].tolist() == ["0", "1", "mean"] * 2
    assert picture.data["difference_points"].tolist() == pytest.approx([20, 30, 25, 30, 0, 15])
    last = picture.data.iloc[-1]
    assert (last["high_points"], last["n"], last["higher_in"]) == (pytest.approx(one.high), 2, 1)
    assert "the mean is higher in 2 of 2 classes; from +15.0 points in class ki to +25.0 in class o" in picture.alt


def test_one_seed_has_no_interval() -> None:
    picture = figure1_classes(SOME)
    first, _ = check(picture).axes
    assert first.get_title() == "LGL-INR - LGL, n=1"
    assert [x for x, _ in points(first, "LGL", "s")[0]] == pytest.approx([30, 0])
    assert list(map(finite, points(first, "LGL", "None"))) == [[]]
    assert "nan" not in picture.alt


def test_a_class_without_images_has_no_difference() -> None:
    lgl = Confusions("LGL", "digits", {0: matrix((8, 2), (0, 0)), 1: matrix((8, 2), (0, 0))}, {})
    inr = replace(lgl, loss="LGL-INR", matrices={0: matrix((7, 3), (0, 0)), 1: matrix((9, 1), (0, 0))})
    picture = figure1_classes([lgl, inr])
    (axes,) = check(picture).axes
    assert words(axes) == ["1/2", "missing"]
    assert points(axes, "LGL", ".") == [[(pytest.approx(-10), 0.22), (pytest.approx(10), 0.22)]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "1"]  # without names, numbers
    assert "paper" not in picture.caption
    check(figure1([lgl, inr]))


def test_classes_have_the_names_of_their_data_set() -> None:
    assert class_names("kmnist", 10)[:4] == ("o", "ki", "su", "tsu")
    assert class_names("fmnist", 2, [4, 6]) == ("coat", "shirt")
    assert class_names("fmnist", 3) == class_names("theirs", 3) == ("0", "1", "2")


def record(seed: int, curve: list[float], folder: Path) -> Record:
    """A record with the curve for test images, one point more for training images, and a matrix."""
    content = BytesIO()
    np.savez(content, confusion_matrix=np.diag(np.full(10, 10 + seed)))
    (folder / f"{seed}.npz").write_bytes(content.getvalue())
    fields: dict[str, Any] = {
        "run_id": "some",
        "config": {"seed": seed, "dataset": {"name": "digits"}},
        "test_accuracy": 1.0,
    }
    fields["arrays_sha256"] = hashlib.sha256(content.getvalue()).hexdigest()
    fields["curves"] = {"test/accuracy": curve, "train/accuracy": [value + 0.01 for value in curve]}
    return Record(fields, folder / f"{seed}.npz")


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    """The paper's cells; LGL has two runs on each data set, SML one on KMNIST, LGL-INR none."""
    two = [record(3, [0.5, 0.8, 0.9], tmp_path), record(5, [0.6, 0.7, 0.8], tmp_path)]
    runs = {"LGL": two, "SML": two[:1], "LGL-INR": []}
    return [
        (cell, runs[cell.loss] if cell.loss == "LGL" or cell.dataset == "KMNIST" else [])
        for cell in figure_cells("paper")
    ]


def test_matrices_are_found_by_loss_and_seed(filled: Filled, tmp_path: Path) -> None:
    lgl, sml, inr = confusions(filled)
    assert [one.loss for one in (lgl, sml, inr)] == ["LGL", "SML", "LGL-INR"]
    assert {seed: found[0, 0] for seed, found in lgl.matrices.items()} == {3: 13, 5: 15}
    assert list(sml.matrices) == [3]
    assert inr.n == 0
    assert inr.paper == {(1, 1): 940, (0, 4): 6}
    assert inr.printed() == ["ki right: missing (paper 940)", "o taken for na: missing (paper 6)"]
    (tmp_path / "5.npz").write_bytes(b"damaged")
    assert list(confusions(filled)[0].matrices) == [3]


def test_curves_show_mean_range_and_the_papers_numbers(filled: Filled) -> None:
    picture = figure2(filled)
    figure = check(picture)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == [
        "MNIST, test images\nLGL n=2, SML missing, LGL-INR missing",
        "FMNIST, test images\nLGL n=2, SML missing, LGL-INR missing",
        "KMNIST, test images\nLGL n=2, SML n=1, LGL-INR missing",
    ]
    assert titles[3] == "MNIST, training images\nLGL n=2, SML missing, LGL-INR missing"
    axes, train = figure.axes[2], figure.axes[3]
    line, tick = points(axes, "LGL")
    assert line == [(1, pytest.approx(55)), (2, pytest.approx(75)), (3, pytest.approx(85))]
    assert [y for _, y in tick] == [94.37, 94.37]
    assert all(x > 1 for x, _ in tick)  # beyond the right edge, in shares of the panel
    assert points(axes, "SML")[0] == [(1, 50), (2, 80), (3, 90)]
    assert [[y for _, y in line] for line in points(axes, "LGL-INR")] == [[96.43, 96.43]]
    low, high = axes.get_ylim()
    assert low < 50
    assert 96.43 < high < 100
    band = axes.collections[0]
    assert isinstance(band, PolyCollection)
    edges = {(round(x), round(y)) for x, y in band.get_paths()[0].vertices.tolist()}  # type: ignore[union-attr]
    assert edges == {(1, 50), (1, 60), (2, 70), (2, 80), (3, 80), (3, 90)}
    assert points(train, "LGL") == [[(1, pytest.approx(56)), (2, pytest.approx(76)), (3, pytest.approx(86))]]
    assert legend_of(figure) == ["LGL", "SML", "LGL-INR", "the paper's number"]
    assert picture.data is not None
    curve = picture.data.query("split == 'test' and dataset == 'KMNIST' and loss == 'LGL'")
    assert curve["low"].tolist() == pytest.approx([50, 70, 80])
    assert curve["high"].tolist() == pytest.approx([60, 80, 90])
    assert curve["n"].tolist() == [2, 2, 2]
    assert curve["paper"].tolist() == [94.37] * 3
    assert len(picture.data) == 2 * 3 * 4
    assert "KMNIST, test: LGL 85.00 % (n=2), paper 94.37 %, SML 90.00 % (n=1)" in picture.alt
    assert "LGL-INR missing, paper 99.29 %" in picture.alt


def test_equal_numbers_of_runs_are_said_once(filled: Filled) -> None:
    one, none = filled[0][1][:1], filled[-1][1]
    for records, said in ((one, "n=1"), (none, "missing")):
        picture = figure2([(cell, records) for cell in figure_cells("quick")])
        figure = check(picture)
        titles = [axes.get_title() for axes in figure.axes]
        assert titles == [f"digits, test images, {said}", f"digits, training images, {said}"]
        assert "paper" not in picture.alt + picture.caption
        assert legend_of(figure) == ["LGL", "SML", "LGL-INR"]


@pytest.mark.parametrize("accuracies", [(0.95, 0.956, 0.957), (0.9, 0.97, 0.2), (0.7, 0.9, 0.1), (0.99, 1.0, 1.0)])
def test_an_axis_of_accuracies_has_marks_that_can_be_read(accuracies: tuple[float, ...], tmp_path: Path) -> None:
    runs = [record(1, [*accuracies], tmp_path)]
    figure = figure_of(figure2([(cell, runs) for cell in figure_cells("quick")]))
    axes = figure.axes[0]
    figure.draw_without_rendering()
    low, high = axes.get_ylim()
    assert low <= 100 * min(accuracies) <= 100 * max(accuracies) <= high + 1e-9
    labels = [label for label in axes.get_yticklabels() if label.get_text()]
    assert 2 <= len(labels) <= 13
    assert [float(label.get_text()) for label in labels] == pytest.approx([float(mark) for mark in axes.get_yticks()])
    boxes = [label.get_window_extent() for label in labels]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_an_unchanged_picture_has_the_same_key(filled: Filled) -> None:
    for make in (lambda: figure1(SOME), lambda: figure1_classes(SOME), lambda: figure2(filled)):
        assert make().drawing.key == make().drawing.key
    changed = [replace(SOME[0], matrices={0: matrix((8, 2), (4, 7))}), *SOME[1:]]
    assert figure1(changed).drawing.key != figure1(SOME).drawing.key


def test_the_hues_are_those_of_the_losses() -> None:
    first, *_ = figure_of(figure1(SOME)).axes
    patch = next(patch for patch in first.patches if isinstance(patch, PathPatch))
    assert math.isclose(patch.get_facecolor()[2], int(STYLES["LGL"]["color"][5:7], 16) / 255)
