"""Noise as the report tells it, of invented runs."""

import math

import numpy as np
import pytest
from blocks import table, text
from drawn import check, legend_of
from invented import FAMILY, Known, level

from lossbench.report.blocks import Picture
from lossbench.statistics import noise
from lossbench.studies.aaai20 import variants
from lossbench.studies.aaai20.keys import CNN2C, labelled
from lossbench.studies.aaai20.sections.noise_and_seeds import noise_blocks
from lossbench.studies.aaai20.verdicts import Judge


def test_noise_is_told_with_the_seeds_to_ask_for(cnn2c: Known) -> None:
    judge = Judge(cnn2c)
    (one,) = [x for x in judge.family(FAMILY["paper/LGL-INR - SML"]) if x.contrast.first.place == (CNN2C, "kmnist")]
    line = table(noise_blocks(judge)).loc["KMNIST", "CNN2C"]
    mean = np.mean([level(labelled("CNN2C", "KMNIST", "SML"))(seed) for seed in range(5)])
    assert line["Test set"] == f"{100 * math.sqrt(mean * (1 - mean) / 10_000):.2f}"
    assert line["Difference"] == f"{100 * one.difference.sd:.2f}"
    sds = (one.difference.sd, *noise.sd_interval(one.difference.sd, 4))
    middle, low, high = (noise.seeds_needed(0.0025, sd) for sd in sds)
    assert line["Seeds needed"] == f"{middle} ({low} to {high})"
    assert "No two pairs" in text(noise_blocks(Judge(Known())))


def test_the_picture_tells_the_seeds_of_the_table(cnn2c: Known) -> None:
    judge = Judge(cnn2c)
    (one,) = [x for x in judge.family(FAMILY["paper/LGL-INR - SML"]) if x.contrast.first.place == (CNN2C, "mnist")]
    (picture,) = [block for block in noise_blocks(judge) if isinstance(block, Picture)]
    assert f"CNN2C, MNIST: {noise.seeds_needed(0.005, one.difference.sd)} seeds to find 0.5 points." in picture.alt
    figure = check(picture)
    (axes,) = figure.axes
    sd = 100 * one.difference.sd
    named = f"CNN2C, MNIST (sd {sd:.2f}, n=5)"
    assert named in legend_of(figure)
    assert len(legend_of(figure)) == 3
    (line,) = [line for line in axes.lines if line.get_label() == named]
    needed = noise.seeds_needed(one.margin, one.difference.sd)
    assert picture.data is not None
    rows = picture.data.query("where == 'CNN2C, MNIST'")
    assert rows.query("is_margin")["seeds"].tolist() == [needed]
    assert rows.query("not is_margin")["true_difference_points"].tolist() == pytest.approx(np.asarray(line.get_xdata()))
    assert rows.query("not is_margin")["seeds"].tolist() == np.asarray(line.get_ydata()).tolist()
    assert [needed] in [np.asarray(other.get_ydata()).tolist() for other in axes.lines]


def test_what_a_seed_does_to_all_losses_alike_is_told_apart(cnn2c: Known) -> None:
    line = dict(table(noise_blocks(Judge(cnn2c)), 1).loc["KMNIST", "CNN2C"])
    keys = [labelled("CNN2C", "KMNIST", name) for name in ("LGL", "SML", "LGL-INR")]  # no other beta
    found = noise.components(np.array([[level(key)(seed) for seed in range(5)] for key in keys]))
    assert line == {
        "Cells": "3",
        "Seeds": "5",
        "Shared": f"{100 * found.columns:.2f} (p < 0.001)",
        "Own": f"{100 * found.rest:.2f}",
    }
    assert found.columns > 10 * found.rest > 0  # as the runs were invented


def test_components_are_told_once_all_combinations_are_there(cnn2c: Known) -> None:
    def line(loss: str) -> dict[str, str]:
        return dict(table(noise_blocks(Judge(cnn2c)), 2).loc["FMNIST", loss])

    drawn = np.random.default_rng(4).normal(0.9, 0.003, (4, 4))
    for row, values in zip(variants.crossed(variants.CROSSED_LOSSES[0]), drawn, strict=True):
        for config, value in zip(row, values, strict=True):
            cnn2c.add(config, float(value))
    found = noise.components(drawn)
    assert line("SML") == {
        "Runs": "16 of 16",
        "Initial weights": f"{100 * found.rows:.2f} (p = {found.p_rows:.3f})",
        "Order": f"{100 * found.columns:.2f} (p = {found.p_columns:.3f})",
        "Interaction and the rest": f"{100 * found.rest:.2f}",
        "All": f"{100 * math.sqrt(found.rows**2 + found.columns**2 + found.rest**2):.2f}",
    }
    assert line("LGL-INR")["Runs"] == "4 of 16"
    assert line("LGL-INR")["Order"] == "missing"
