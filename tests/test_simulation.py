"""Table 1: weights and data as the paper has them, Eq. 10 by its definition, and the file of simulations."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kinds_of_runs import Invoke
from scipy import optimize, special, stats

from lossbench.studies.aaai20 import table1
from lossbench.studies.aaai20.table1 import WEIGHTS, Cell, Simulations, draw, load, path_below, printed, simulate, write


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that are hardly trained, in tenths of a second."""
    monkeypatch.setattr(table1, "STOPPED_AFTER", 10)
    monkeypatch.setattr(table1, "CONVERGED_WITHIN", 20)


def chosen(cells: tuple[Cell, ...], **wanted: str) -> list[Cell]:
    return [cell for cell in cells if all(getattr(cell, name) == value for name, value in wanted.items())]


def test_right_hand_sides_of_both_readings() -> None:
    n0, n1 = 1000, 10_000
    by_hand = {
        ("corrected", "1/2"): 1 / 2,
        ("corrected", "N1/(N0+N1)"): n1 / (n0 + n1),
        ("corrected", "2N1/(2N1+N0)"): 2 * n1 / (2 * n1 + n0),
        ("printed", "N0/(N0+N1)"): n0 / (n0 + n1),
        ("printed", "2N0/(2N0+N1)"): 2 * n0 / (2 * n0 + n1),
    }
    found = {}
    for weight in WEIGHTS:
        label = weight.lambda_corrected if weight.reading == "corrected" else weight.lambda_printed
        found[weight.reading, label] = weight
    assert {key: float(weight.lambda_0) for key, weight in found.items()} == pytest.approx(by_hand, rel=1e-15)
    for key, lambda_0 in by_hand.items():
        assert found[key].rhs == pytest.approx((1 - lambda_0) * n1 / (lambda_0 * n0), rel=1e-12)
    assert [weight.rhs for weight in WEIGHTS] == [10, 1, 0.5, 100, 50]


def test_the_papers_numbers_are_those_of_its_table() -> None:
    text = [f"{line.rhs:g} {line.mean:.2f} ({line.sd:.2f})" for line in printed().values()]
    assert text[:3] == ["10 10.05 (1.13)", "1 1.00 (0.09)", "0.5 0.50 (0.04)"]
    assert text[3:] == ["10 10.12 (0.67)", "1 1.01 (0.05)", "0.5 0.50 (0.03)"]
    corrected = [weight for weight in WEIGHTS if weight.reading == "corrected"]
    assert [*printed()] == [(name, weight.lambda_printed) for name in ("Sim1", "Sim2") for weight in corrected]
    assert [line.rhs for line in printed().values()] == 2 * [weight.rhs for weight in corrected]


def test_data_are_drawn_as_the_paper_says() -> None:
    generator = np.random.default_rng(1)
    first = draw("Sim1", generator, (50_000, 60_000))
    assert first.features.shape == (2, 110_000)
    assert (first.features[-1] == 1).all()
    assert (first.target == [0] * 50_000 + [1] * 60_000).all()
    for values, mean, ends in (
        (first.features[0, :50_000], 1.5, (-0.5, 0)),
        (first.features[0, 50_000:], -1.5, (0, 0.5)),
    ):
        # the density of N(mean, 1) + U(ends) is the average of the normal one over the interval
        def distribution(x: np.ndarray, mean: float = mean, ends: tuple[float, float] = ends) -> np.ndarray:
            return np.mean([stats.norm.cdf(x, mean + shift) for shift in np.linspace(*ends, 101)], axis=0)

        assert stats.kstest(values, distribution).pvalue > 0.01
    second = draw("Sim2", generator, (50_000, 60_000))
    assert second.features.shape == (4, 110_000)
    assert (second.features[-1] == 1).all()
    for rows, mean, variance in ((second.features[:3, :50_000], 1, 1), (second.features[:3, 50_000:], 0, 1.2)):
        assert np.cov(rows) == pytest.approx(variance * np.eye(3), abs=0.03)
        assert all(stats.kstest(row, stats.norm(mean, math.sqrt(variance)).cdf).pvalue > 0.01 for row in rows)


def test_a_left_hand_side_is_that_of_a_regression_fitted_otherwise() -> None:
    """Sim1's first repetition by the definitions: scipy minimises Eq. 1, means are loops."""
    cells = chosen(simulate(2).cells, simulation="Sim1")
    generator = np.random.default_rng([0, 1, 0])
    train, test = (draw("Sim1", generator, sizes) for sizes in ((1000, 10_000), (1000, 1000)))

    def loss(coefficients: np.ndarray, lambda_0: float) -> float:
        logits = coefficients @ train.features
        of_0, of_1 = special.log_expit(-logits[:1000]).sum(), special.log_expit(logits[1000:]).sum()
        return float(-lambda_0 * of_0 - (1 - lambda_0) * of_1) / 1000

    for cell, weight in zip(cells, WEIGHTS, strict=True):
        best = optimize.minimize(loss, np.zeros(2), float(weight.lambda_0), tol=1e-9)
        p1 = [1 / (1 + math.exp(-float(best.x @ sample))) for sample in test.features.T]
        p00 = sum(1 - p for p in p1[:1000]) / 1000
        p10 = sum(1 - p for p in p1[1000:]) / 1000
        assert cell.lhs[0] == pytest.approx((1 - p00) / p10, rel=1e-4)
        assert cell.rhs == weight.rhs


def test_eq_10_is_an_identity_on_the_training_data_of_a_converged_model() -> None:
    cells = simulate(3).cells
    for cell in cells:
        errors = np.abs(cell.identity_errors)
        assert len(errors) == len(cell.lhs) == 3
        if cell.training == "converged":
            assert errors.max() < 1e-9
        else:
            assert errors.max() > 1e-6
        assert all(0.3 < side / cell.rhs < 3 for side in cell.lhs)
        assert min(abs(side / cell.rhs - 1) for side in cell.lhs) > 1e-6, "on test data it is an estimate"
        assert (cell.mean, cell.sd) == pytest.approx((np.mean(cell.lhs), np.std(cell.lhs, ddof=1)))


def test_cells_are_those_of_table_1_in_both_readings() -> None:
    cells = simulate(2).cells
    assert len(cells) == 13
    headline = chosen(cells, reading="corrected", training="converged")
    labels = ["1/2", "N0/(N0+N1)", "2N0/(2N0+N1)"]
    assert [(cell.simulation, cell.lambda_printed) for cell in headline] == [*printed()]
    assert [cell.lambda_printed for cell in chosen(cells, simulation="Sim2", training="stopped")] == labels + labels[1:]
    assert len(chosen(cells, reading="printed")) == 4


def test_the_seed_decides_all_and_the_number_of_repetitions_or_threads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    two = simulate(2)
    assert simulate(2).cells == two.cells
    assert all(math.isfinite(side) for cell in two.cells for side in cell.lhs)
    monkeypatch.setattr(table1, "MOST_THREADS", 1)
    three = simulate(3)
    assert [replace(cell, lhs=cell.lhs[:2], identity_errors=cell.identity_errors[:2]) for cell in three.cells] == [
        *two.cells
    ]
    assert len({cell.lhs[place] for cell in three.cells[:1] for place in range(3)}) == 3
    other = simulate(2, seed=1)
    assert all(mine.lhs != yours.lhs for mine, yours in zip(two.cells, other.cells, strict=True))


@pytest.mark.parametrize(("num_repetitions", "seed"), [(1, 0), (0, 0), (2, -1)])
def test_too_few_repetitions_are_refused(num_repetitions: int, seed: int) -> None:
    said = f"^2 repetitions or more and a seed >= 0 are needed, got {num_repetitions} and {seed}$"
    with pytest.raises(ValueError, match=said):
        simulate(num_repetitions, seed)


# The file


def made(num_repetitions: int = 2, seed: int = 0) -> Simulations:
    """Simulations without the simulating: every left-hand side is 1 % off, to and fro."""
    cells = tuple(
        replace(cell, lhs=(cell.rhs * 0.99, cell.rhs * 1.01), identity_errors=(0.0, 1e-15))
        for cell in table1._empty_cells()
    )
    return Simulations(seed, num_repetitions, 100, 1000, {"numpy": "2.0"}, None, 1.5, cells)


def test_what_was_written_is_read_and_the_own_comes_first(tmp_path: Path) -> None:
    own, committed = tmp_path / "outputs", tmp_path / "results"
    assert load(own, committed) is None
    assert load(own, None) is None
    assert write(made(seed=7), committed) == committed / "simulations.json" == path_below(committed)
    assert load(own, committed) == made(seed=7)
    assert load(own, None) is None
    simulated = simulate(2)
    write(simulated, own)
    assert load(own, committed) == simulated
    assert [path.name for path in own.iterdir()] == ["simulations.json"]
    raw = json.loads(path_below(own).read_bytes())
    assert list(raw["cells"][0]["lhs"]) == [float(f"{side:.6g}") for side in simulated.cells[0].lhs]
    assert set(raw["versions"]) == {"lossbench", "numpy", "scipy"}


def changed(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda fields: fields | changes


def cell_changed(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda fields: fields | {"cells": [fields["cells"][0] | changes, *fields["cells"][1:]]}


DAMAGES = [
    (changed(cells=[]), "the cells are not those of Table 1"),
    (lambda fields: fields | {"cells": fields["cells"][::-1]}, "the cells are not those of Table 1"),
    (cell_changed(rhs=9.0), "the cells are not those of Table 1"),
    (cell_changed(reading="printed"), "the cells are not those of Table 1"),
    (cell_changed(lhs=[9.0]), "a cell does not hold 2 finite numbers, at least 2"),
    (cell_changed(lhs=[9.0, math.nan]), "a cell does not hold 2 finite numbers"),
    (cell_changed(identity_errors=[9.0, math.inf]), "a cell does not hold 2 finite numbers"),
    (cell_changed(lhs=[9.0, "10"]), "TypeError"),
    (cell_changed(lhs=5), "TypeError"),
    (cell_changed(more=5), "TypeError"),
    (changed(num_repetitions=3), "a cell does not hold 3 finite numbers"),
    (changed(num_repetitions="2"), "TypeError"),
    (changed(cells=None), "TypeError"),
    (changed(more=1), "TypeError"),
    (changed(commit=5), "it does not tell where it comes from"),
    (changed(versions=[]), "it does not tell where it comes from"),
    (changed(wall_s="soon"), "it does not tell where it comes from"),
    (changed(seed=0.5), "it does not tell where it comes from"),
    (lambda fields: {key: value for key, value in fields.items() if key != "seed"}, "TypeError"),
    (lambda fields: {key: value for key, value in fields.items() if key != "cells"}, "KeyError"),
    (lambda fields: [fields], "TypeError"),
    (lambda fields: 5, "TypeError"),
]


@pytest.mark.parametrize(("damage", "why"), DAMAGES)
def test_a_damaged_file_is_named_in_one_sentence(damage: Callable[[Any], Any], why: str, tmp_path: Path) -> None:
    path = write(made(), tmp_path)
    path.write_text(json.dumps(damage(json.loads(path.read_bytes()))))
    with pytest.raises(ValueError, match=rf"simulations\.json holds damaged simulations \(.*{why}.*\); remove it"):
        load("nowhere", tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"NaN", b"null"])
def test_what_is_no_json_is_named_too(content: bytes, tmp_path: Path) -> None:
    path_below(tmp_path).write_bytes(content)
    with pytest.raises(ValueError, match=r"simulations\.json holds damaged simulations \(.{3,250}\); remove it, and"):
        load(tmp_path, None)


# The command


def test_the_command_shows_ours_beside_the_papers(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(table1, "simulate", made)
    head, *lines = invoke("simulate", "--num-repetitions", "2").output.splitlines()
    words = {place: " ".join(line.split()) for place, line in enumerate([head, *lines])}
    assert words[0] == "simulation training reading lambda_0 printed corrected RHS LHS (sd) paper's (sd)"
    assert words[2] == "Sim1 converged corrected N0/(N0+N1) N1/(N0+N1) 1 1.00 (0.01) 1.00 (0.09)"
    assert words[6] == "Sim2 stopped corrected 1/2 1/2 10 10.00 (0.14) 10.12 (0.67)"
    assert words[9] == "Sim2 stopped printed N0/(N0+N1) N1/(N0+N1) 100 100.00 (1.41) 1.01 (0.05)"
    assert lines[-1] == "2 repetitions in 1.5 s: outputs/simulations.json"
    assert len(lines) == 13 + 2
    assert load("outputs", None) == made()
    assert not Path("results").exists()
    said = invoke("simulate", "--num-repetitions", "2", "--publish").output.splitlines()
    assert said[-1] == "2 repetitions in 1.5 s: results/simulations.json"
    assert load("elsewhere", "results") == made()


def test_the_command_finds_a_wrong_folder_before_it_works(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(table1, "simulate", None)
    for words, name in ((["--publish", "--results-dir"], "--results-dir"), (["--output-dir"], "--output-dir")):
        result = invoke("simulate", *words, str(tmp_path / "file" / "below"), code=1)
        assert isinstance(result.exception, ValueError)
        assert str(result.exception).startswith(f"{name} must be a folder, got {tmp_path}/file/below")
    invoke("simulate", "--num-repetitions", "1", code=2)


def test_the_committed_simulations_are_complete_and_sim1_is_the_same_today() -> None:
    found = load("nowhere", Path(__file__).parents[1] / "results")
    assert found is not None
    assert (found.num_repetitions, found.seed, found.stopped_after, found.converged_within) == (100, 0, 100, 1000)
    today = chosen(simulate(2).cells, simulation="Sim1")
    for cell, committed in zip(today, chosen(found.cells, simulation="Sim1"), strict=True):
        assert committed.lhs[:2] == pytest.approx(cell.lhs, rel=1e-5)
    for cell in found.cells:
        largest = max(map(abs, cell.identity_errors))
        assert (largest < 1e-9) == (cell.training == "converged")
        assert cell.mean == pytest.approx(cell.rhs, rel=0.1)
