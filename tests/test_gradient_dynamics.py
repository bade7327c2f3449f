"""Gradient traces on pages: pooled values by hand, all states of runs, and a trace of a real run."""

import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from invented import Known

from lossbench.config.options import LossConfig
from lossbench.config.run import Config, Runtime, Schedule, run_id
from lossbench.data.digits import Digits
from lossbench.data.mnist_type import MnistType
from lossbench.losses.brier import Brier
from lossbench.losses.entmax import Entmax
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.one_minus_p_squared import OneMinusPSquared
from lossbench.losses.sml import Sml
from lossbench.losses.sparsemax import Sparsemax
from lossbench.models.cnn2c import Cnn2c, Head
from lossbench.report.blocks import Items, Paragraph, Picture, Table
from lossbench.report.gradient_figures import Line, Panel, over_steps, styles
from lossbench.report.style import STYLES
from lossbench.runs.checks import load_arrays
from lossbench.runs.folder import open_run
from lossbench.runs.gradient_arrays import COUNTS, NORMS, SPECTRUM, SPECTRUM_STEPS, STEPS, ZEROS
from lossbench.studies import gradient_dynamics
from lossbench.studies.gradient_spectrum import spectrum_of, spectrum_table, stated_bound
from lossbench.studies.gradient_traces import by_step, pooled, trace_of, traces_of
from lossbench.training.fit import fit

SETTING = "Fashion-MNIST, CNN2C, own rates"
LOSSES: dict[str, LossConfig] = {"SML": Sml(), "(1 - p)²": OneMinusPSquared(), "Sparsemax": Sparsemax()}


def config(loss: LossConfig, seed: int = 0, lr: float = 0.1) -> Config:
    return Config(MnistType("fmnist"), Cnn2c(), loss, Schedule(lr=lr), seed)


def arrays(wrong: float, right: float, zeros: float = 0.0, lowest: float = 0.0, top: float = 0.4) -> dict[str, Any]:
    """Three points of 100 images: all wrong, half of them, none; norms by bin, K = 4."""
    counts = np.zeros((3, 8), int)
    counts[:, 1], counts[:, 4], counts[:, 7] = (90, 40, 0), (10, 10, 10), (0, 50, 90)
    norms = np.full((3, 8), np.nan)
    norms[:2, 1], norms[:, 4], norms[1:, 7] = wrong, 0.5, right
    means = np.array([[0.0, 0.01, 0.02, 0.1], [0.0, 0.02, 0.03, 0.2], [0.0, 0.01, 0.01, 0.3]])
    ends = np.array([[lowest / 2, top / 2], [lowest, top / 2], [0.0, top]])
    return {
        STEPS: np.array([0, 50, 100]),
        COUNTS: counts,
        NORMS: norms.astype(np.float32),
        ZEROS: np.array([[0, 0], [zeros, zeros / 2], [zeros, zeros]], np.float32),
        SPECTRUM: np.concatenate([means, ends], axis=1).astype(np.float32),
        SPECTRUM_STEPS: np.array([0, 50, 100]),
    }


def known(*seeds: int) -> tuple[Known, dict[str, list[Config]]]:
    """Two runs of each loss, those of some seeds with a trace."""
    results = Known()
    runs = {label: [config(loss, seed) for seed in (0, 1)] for label, loss in LOSSES.items()}
    given = {
        "SML": arrays(1.3, 0.002),
        "(1 - p)²": arrays(1e-5, 1e-5, lowest=-0.2),
        "Sparsemax": arrays(1.4, 0.0, zeros=0.6),
    }
    for label, configs in runs.items():
        for one in configs:
            if one.seed in seeds:
                results.add(one, 0.9)
                results.given[run_id(one)] = given[label]
    return results, runs


def only(blocks: list[Any], kind: type) -> list[Any]:
    return [block for block in blocks if isinstance(block, kind)]


def test_norms_are_pooled_over_images_points_and_runs() -> None:
    results, _ = known(0)
    other = config(Sml(), 1)
    results.add(other, 0.9)
    results.given[run_id(other)] = arrays(1.1, 0.004) | {COUNTS: 3 * arrays(1, 1)[COUNTS]}
    traces = traces_of({"SML": [config(Sml()), other]}, results)["SML"]
    found = pooled(traces)
    assert found.readings.tolist() == [0, 4 * 130, 0, 0, 4 * 30, 0, 0, 4 * 140]
    assert found.norms[1] == pytest.approx((1.3 * 130 + 1.1 * 390) / 520)
    assert found.norms[7] == pytest.approx((0.002 + 3 * 0.004) / 4)
    assert np.isnan(found.norms[[0, 2, 3, 5, 6]]).all()
    assert found.over(slice(0, 5)) == pytest.approx((1.3 * 130 + 1.1 * 390 + 0.5 * 120) / 640)
    start = pooled(traces, start_alone=True)
    assert start.readings.tolist() == [0, 360, 0, 0, 40, 0, 0, 0]
    assert start.norms[1] == pytest.approx((1.3 + 3 * 1.1) / 4)


def test_a_bin_with_few_readings_has_no_mean() -> None:
    results, _ = known(0)
    few = np.zeros((3, 8), int)
    few[:, 1], few[:, 4] = 3, (3, 3, 4)
    results.given[run_id(config(Sml()))] = arrays(1.3, 0.1) | {COUNTS: few}
    found = pooled(traces_of({"SML": [config(Sml())]}, results)["SML"])
    assert np.isnan(found.norms[1]), "nine readings"
    assert found.norms[4] == pytest.approx(0.5), "ten"


def test_a_point_that_is_there_twice_counts_once() -> None:
    results, _ = known(0)
    twice = {name: array[[0, 1, 2, 2]] if "spectrum" not in name else array for name, array in arrays(1.3, 0.1).items()}
    results.given[run_id(config(Sml()))] = twice | {STEPS: np.array([0, 50, 100, 100])}
    trace = trace_of(results, config(Sml()))
    assert trace is not None
    assert trace.steps.tolist() == [0, 50, 100]
    assert pooled([trace]).readings[7] == 140


def test_zeros_are_means_over_the_runs_that_have_the_step() -> None:
    results, _ = known(0)
    other = config(Sparsemax(), 1)
    results.add(other, 0.9)
    results.given[run_id(other)] = arrays(1, 0, zeros=0.2) | {STEPS: np.array([0, 50, 200])}
    steps, shares = by_step(traces_of({"a": [config(Sparsemax()), other]}, results)["a"], 0)
    assert steps.tolist() == [0, 50, 100, 200]
    assert shares == pytest.approx([0, 0.4, 0.6, 0.2])


def test_the_spectrum_over_runs() -> None:
    results, runs = known(0, 1)
    second = arrays(1, 1, lowest=-0.3, top=0.2)
    second[SPECTRUM][:, 3] += 0.1
    results.given[run_id(runs["(1 - p)²"][1])] = second
    found = spectrum_of(traces_of(runs, results)["(1 - p)²"])
    assert found is not None
    assert (found.num_classes, found.n) == (4, 2)
    assert found.largest_means == pytest.approx([0.15, 0.25, 0.35])
    assert found.traces == pytest.approx([0.18, 0.3, 0.37])
    assert found.effective_ranks[0] == pytest.approx(0.18**2 / (0.01**2 + 0.02**2 + 0.15**2), rel=1e-5)
    assert (found.smallest, found.largest) == pytest.approx((-0.3, 0.4))
    assert not found.is_convex


def test_a_bound_holds_for_the_default_options_alone() -> None:
    assert stated_bound(config(Sml()), 10) == 0.5
    assert stated_bound(config(Entmax(alpha=1.25)), 10) is None
    assert stated_bound(config(replace(Sml(), scale=3.0)), 10) is None
    assert stated_bound(config(LglInr()), 10) is None


def test_the_table_of_the_spectrum_says_what_exceeds_its_bound() -> None:
    results, runs = known(0)
    results.given[run_id(runs["SML"][0])] = arrays(1, 1, top=0.51)
    results.given[run_id(runs["(1 - p)²"][0])] = arrays(1, 1, lowest=-0.32, top=0.3)
    found = spectrum_table(runs, results, SETTING)
    assert found is not None
    frame = found.frame
    assert frame.loc["SML", "Stated bound"] == "0.500, exceeded"
    assert frame.loc["(1 - p)²", "Stated bound"] == "0.309, exceeded"
    assert frame.loc["Sparsemax", "Stated bound"] == "1.000"
    assert frame.loc["SML", "Largest, mean"] == "0.1 / 0.2 / 0.3"
    assert frame.loc["SML", "Trace, mean"] == "0.13 / 0.25 / 0.32"
    assert frame.loc["SML", "Smallest of all"] == "none below 0"
    assert frame.loc["(1 - p)²", "Smallest of all"] == "-0.320"
    texts = only(gradient_dynamics.dynamics_blocks(runs, results, "s_", SETTING), Items)[0].texts
    assert "The stated bound on the eigenvalues is exceeded by SML and (1 - p)²." in texts


def test_a_convex_loss_with_negative_curvature_is_named() -> None:
    results, runs = known(0)
    results.given[run_id(runs["SML"][0])] = arrays(1, 1, lowest=-0.01)
    texts = only(gradient_dynamics.dynamics_blocks(runs, results, "s_", SETTING), Items)[0].texts
    assert "A loss that states that it is convex is among them: SML." in texts


def test_the_blocks_of_whole_traces() -> None:
    results, runs = known(0, 1)
    blocks = gradient_dynamics.dynamics_blocks(runs, results, "family_", SETTING)
    assert only(blocks, Paragraph)[0].text.endswith(f"{SETTING}. 6 of 6 runs have a gradient trace.")
    flat, others, bent, straight, bounds = only(blocks, Items)[0].texts
    assert flat.endswith("p is below 0.01 being less than 0.1 times that where p is 0.1 to 0.5: (1 - p)² (2e-5).")
    assert others == "Not flat there: SML (2.6) and Sparsemax (2.8)."
    assert "negative curvature with (1 - p)² (-0.2);" in bent
    assert straight == "No eigenvalue is below 0 with SML and Sparsemax."
    assert bounds == "The stated bound on the eigenvalues is exceeded by (1 - p)²."
    norms, zeros = only(blocks, Picture)
    assert (norms.name, zeros.name) == ("family_gradient_norms", "family_gradient_zeros")
    assert "n=2 for each loss" in norms.caption
    assert "3 points a run and 100 training images a point" in norms.caption
    assert "SML, whole run: –, 1.3, –, –, 0.5, –, –, 0.002." in norms.alt
    row = norms.data[(norms.data["loss"] == "SML") & (norms.data["when"] == "whole run") & (norms.data["p_to"] == 1)]
    assert row[["mean_norm", "readings", "runs"]].to_numpy().tolist() == [[0.002, 280, 2]]
    assert "With SML and (1 - p)² at most 0.1 % of the entries are exactly 0" in zeros.caption
    assert set(zeros.data["loss"]) == {"Sparsemax"}
    assert "images without gradient (%): 0.0 at the start, 60.0 at the end" in zeros.alt
    table, _ = only(blocks, Table)
    assert table.frame.loc["SML", "p below 0.01"] == "1.3 (260)"
    assert table.frame.loc["SML", "p 0.1 to 0.5"] == "0.5 (60)"
    assert table.frame.loc["Sparsemax", "p above 0.99"] == "0 (280)"
    assert table.frame.loc["SML", "Wrong / unsure"] == "2.6"


def test_without_zeros_there_is_a_sentence() -> None:
    results, runs = known(0)
    dense = {label: runs[label] for label in ("SML", "(1 - p)²")}
    blocks = gradient_dynamics.dynamics_blocks(dense, results, "s_", SETTING)
    assert len(only(blocks, Picture)) == 1
    assert only(blocks, Paragraph)[1].text.startswith("With SML and (1 - p)² at most 0.1 % of the entries")


def test_without_planned_runs_there_is_nothing() -> None:
    assert gradient_dynamics.dynamics_blocks({}, Known(), "s_", SETTING) == []
    assert gradient_dynamics.dynamics_blocks({"SML": []}, Known(), "s_", SETTING) == []


def test_without_finished_runs_there_is_one_sentence() -> None:
    results, runs = known()
    (one,) = gradient_dynamics.dynamics_blocks(runs, results, "s_", SETTING)
    assert isinstance(one, Paragraph)
    assert one.text.endswith("nothing to show yet. 0 of 6 runs have a gradient trace; 6 are not done.")


def test_diverged_runs_and_runs_without_arrays_are_counted() -> None:
    results, runs = known(0)
    diverged, without, damaged = runs["SML"][1], runs["(1 - p)²"][1], runs["Sparsemax"][1]
    results.diverged |= {run_id(diverged)}
    results.add(without, 0.9)
    results.add(damaged, 0.9)
    results.given[run_id(damaged)] = arrays(1, 1) | {NORMS: np.zeros((3, 7))}
    blocks = gradient_dynamics.dynamics_blocks(runs, results, "s_", SETTING)
    told = only(blocks, Paragraph)[0].text
    assert told.endswith("3 of 6 runs have a gradient trace; 1 diverged; 2 are done without a trace that can be read.")
    assert "n=1 for each loss" in only(blocks, Picture)[0].caption


@pytest.mark.parametrize("name", [STEPS, COUNTS, NORMS, ZEROS])
def test_a_trace_that_lacks_an_array_is_none(name: str) -> None:
    results, runs = known(0)
    given = arrays(1, 1)
    del given[name]
    results.given[run_id(runs["SML"][0])] = given
    assert trace_of(results, runs["SML"][0]) is None


def test_a_trace_without_a_spectrum_leaves_the_table_out() -> None:
    results, runs = known()
    results.add(runs["SML"][0], 0.9)
    results.given[run_id(runs["SML"][0])] = {
        name: array for name, array in arrays(1, 1).items() if "spectrum" not in name
    }
    blocks = gradient_dynamics.dynamics_blocks(runs, results, "s_", SETTING)
    assert len(only(blocks, Table)) == 1
    assert only(blocks, Paragraph)[0].text.endswith("1 of 6 runs has a gradient trace; 5 are not done.")


def test_on_the_way() -> None:
    results, _ = known(0)
    runs = {"SML": config(Sml()), "(1 - p)²": config(OneMinusPSquared()), "Brier": config(Brier(), lr=0.3)}
    found = gradient_dynamics.on_the_way_picture(runs, results, "why_log_", "the same start, seed 0", most_steps=60)
    assert found is not None
    assert found.name == "why_log_on_the_way"
    assert "Learning rates: SML 0.1, (1 - p)² 0.1. Without a trace so far: Brier." in found.caption
    assert "The first 60 steps" in found.caption
    lines = found.data[found.data["loss"] == "SML"]
    assert lines["step"].tolist() == [0, 50]
    assert lines["mean_norm"].tolist() == pytest.approx(
        [0.9 * 1.3 + 0.1 * 0.5, 0.4 * 1.3 + 0.05 + 0.5 * 0.002], rel=1e-4
    )
    assert lines["percent_confidently_wrong"].tolist() == [90, 40]
    assert "SML: 1.22 and 90 % at 0, 0.571 and 40 % at 50." in found.alt
    square = found.data[found.data["loss"] == "(1 - p)²"]
    assert square["mean_norm"].iloc[0] == pytest.approx(0.05 + 0.9e-5, rel=1e-4)


def test_on_the_way_without_a_trace() -> None:
    results, _ = known()
    assert gradient_dynamics.on_the_way_picture({"SML": config(Sml())}, results, "s_", "a start") is None
    assert gradient_dynamics.on_the_way_picture({}, results, "s_", "a start") is None


def test_the_pictures_are_drawn() -> None:
    results, runs = known(0)
    blocks = gradient_dynamics.dynamics_blocks(runs, results, "s_", SETTING)
    norms, zeros = only(blocks, Picture)
    firsts = {label: configs[0] for label, configs in runs.items()}
    way = gradient_dynamics.on_the_way_picture(firsts, results, "s_", "a start")
    assert way is not None
    for picture in (norms, zeros, way):
        pickle.dumps(picture.drawing.arguments)
    figure = norms.drawing.function(*norms.drawing.arguments)
    start, whole = figure.axes
    assert len(start.lines) == len(whole.lines) == 3
    assert start.get_yscale() == "log"
    by_colour = {line.get_color(): np.asarray(line.get_ydata()) for line in whole.lines}
    assert by_colour[STYLES["SML"]["color"]].shape == (8,)
    sparse = np.asarray(whole.lines[2].get_ydata())
    assert sparse[7] == pytest.approx(1e-6, rel=1e-4), "0 stands a tenth below the smallest, 1e-5"
    shares = zeros.drawing.function(*zeros.drawing.arguments)
    assert [len(axes.lines) for axes in shares.axes] == [1, 1]
    assert np.asarray(shares.axes[0].lines[0].get_ydata()) == pytest.approx([0, 60, 60])
    drawn = way.drawing.function(*way.drawing.arguments)
    assert [axes.get_ylabel() for axes in drawn.axes] == ["mean norm", "images with p < 0.01 (%)"]


def test_a_figure_of_zeros_alone_is_drawn() -> None:
    zeros = Panel("norm", (Line("SML", (0.0, 1.0), (0.0, math.nan)),), True)
    found = over_steps("s", [zeros], ("SML",), "caption", "alt", pd.DataFrame())
    assert len(found.drawing.function(*found.drawing.arguments).axes) == 1


def test_labels_of_no_registered_loss_get_styles_of_their_own() -> None:
    labels = ["SML", "Entmax, alpha 1.25", "Entmax", "Entmax, alpha 1.75", "Sparsemax"]
    found = styles(labels)
    assert [found[label] for label in ("SML", "Entmax", "Sparsemax")] == [
        STYLES[label] for label in ("SML", "Entmax", "Sparsemax")
    ]
    looks = {tuple(sorted(style.items())) for style in found.values()}
    assert len(looks) == len(labels)


def test_a_real_run_has_such_a_trace(tmp_path: Path) -> None:
    runtime = Runtime(device="cpu", output_dir=str(tmp_path), num_threads=1, tensorboard=False, gradient_trace=True)
    schedule = Schedule(epochs=2, batch_size=8, evaluate_every_steps=2)
    made = Config(Digits(num_train=20), Cnn2c(head=Head.direct), Sml(), schedule, runtime=runtime)
    run = open_run(made)
    fit(made, run)
    results = Known()
    results.add(made, 0.5)
    (path,) = run.folder.rglob("*.npz")
    results.given[run_id(made)] = load_arrays(path.read_bytes())
    trace = trace_of(results, made)
    assert trace is not None
    assert trace.steps.tolist() == [0, 2, 3, 4, 6], "the last step once, though the trace has it twice"
    found = spectrum_of([trace])
    assert found is not None
    assert found.num_classes == 10
    assert found.largest <= 0.5
    assert found.is_convex
    _, norms, _ = gradient_dynamics.on_the_way(trace)
    assert norms[0] == pytest.approx(math.sqrt(0.9**2 + 9 * 0.1**2), rel=0.1), "all p are about 0.1 at the start"
    blocks = gradient_dynamics.dynamics_blocks({"SML": [made]}, results, "s_", "digits")
    assert len(only(blocks, Picture)) == 1


def test_wrong_and_unsure_begin_and_end_at_the_stated_bins() -> None:
    results, _ = known(0)
    made = config(Sml())
    every = np.full((3, 8), 10)
    norms = np.tile([1.0, 2.0, 3.0, 50.0, 0.5, 70.0, 80.0, 0.01], (3, 1))
    results.given[run_id(made)] = arrays(1, 1) | {COUNTS: every, NORMS: norms}
    frame = gradient_dynamics.norms_table({"SML": [made]}, results, SETTING).frame
    assert frame.loc["SML", "p below 0.01"] == "2 (90)"
    assert frame.loc["SML", "p 0.1 to 0.5"] == "0.5 (30)"
    assert frame.loc["SML", "p above 0.99"] == "0.01 (30)"
    assert frame.loc["SML", "Wrong / unsure"] == "4"
    trace = trace_of(results, made)
    assert trace is not None
    assert gradient_dynamics.on_the_way(trace)[2] == pytest.approx([3 / 8] * 3)
