"""Table 1, which simulates Eq. 10: two simulations, three weights, 100 repetitions; no torch.

Of a trained binary classifier Eq. 10 says (1 - p00) / p10 = lambda_1 N_1 / (lambda_0 N_0), p_jk being the mean
probability of class k over class j. On the training data both sides are equal once the output bias is at its optimum;
on test data, which Table 1 shows, the left-hand side only estimates the right one.

Deviation: Table 1's labels of lambda_0 have N_0 and N_1 mixed up: as printed, the right-hand sides are 100 and 50, not
1 and 0.5. Both readings are simulated; the corrected one is the headline.

Deviation: the paper does not say how Sim2's network was trained. Here BFGS minimises the weighted loss over the whole
training data, from weights uniform in +-0.7, and one path has two ends. `stopped`: after 100 iterations, which with
those initial weights are the defaults of R's nnet, a usual tool for a 3-10-1 network. `converged`: once no lower loss
is found, or after 1000, as the loss may have no minimum at finite weights; Eq. 10 then holds on the training data.

Deviation: "sigma_1 = 1.2 I" is read as a covariance matrix. All weights of a repetition share data and initial weights.
"""

import json
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass, replace
from fractions import Fraction
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from scipy.special import expit

from lossbench.runs.checks import DAMAGES
from lossbench.runs.folder import to_json
from lossbench.studies.aaai20 import paper
from lossbench.studies.aaai20.fitting import fit_logistic, fit_networks, network_logits, num_parameters
from lossbench.system.files import read_file, write_bytes
from lossbench.system.machine import commit, keep_freed_memory, num_cores

NUM_TRAIN = (1_000, 10_000)
"""Training samples of class 0 and class 1, N_0 and N_1."""

NUM_TEST = (1_000, 1_000)
"""Test samples of class 0 and class 1."""

STOPPED_AFTER = 100
"""Iterations of a network that counts as `stopped`."""

CONVERGED_WITHIN = 1000
"""Iterations at most of a network that counts as `converged`."""

MOST_THREADS = 4
"""Repetitions at most that are simulated at a time."""

Simulation = Literal["Sim1", "Sim2"]
Training = Literal["converged", "stopped"]
Reading = Literal["corrected", "printed"]

Predict = Callable[[np.ndarray], np.ndarray]
"""From features [F, N] to probabilities of class 1, [W, N]."""


class Weight(NamedTuple):
    """A value of lambda_0 (lambda_1 = 1 - lambda_0), and the column of Table 1 that it is a reading of."""

    reading: Reading
    lambda_printed: str
    lambda_corrected: str
    lambda_0: Fraction

    @property
    def rhs(self) -> float:
        """Right-hand side of Eq. 10."""
        return float((1 - self.lambda_0) * NUM_TRAIN[1] / (self.lambda_0 * NUM_TRAIN[0]))


def _weights(n0: int, n1: int) -> tuple[Weight, ...]:
    half, single, double = ("1/2", "1/2"), ("N0/(N0+N1)", "N1/(N0+N1)"), ("2N0/(2N0+N1)", "2N1/(2N1+N0)")
    return (
        Weight("corrected", *half, Fraction(1, 2)),
        Weight("corrected", *single, Fraction(n1, n0 + n1)),
        Weight("corrected", *double, Fraction(2 * n1, 2 * n1 + n0)),
        Weight("printed", *single, Fraction(n0, n0 + n1)),
        Weight("printed", *double, Fraction(2 * n0, 2 * n0 + n1)),
    )


WEIGHTS = _weights(*NUM_TRAIN)
"""The weights of Table 1, columns from left to right; 1/2 is the same in both readings."""


@dataclass(frozen=True)
class Cell:
    """A simulated cell of Table 1."""

    simulation: Simulation
    training: Training  # Sim1's logistic regression always converges
    reading: Reading
    lambda_printed: str
    lambda_corrected: str
    rhs: float  # of Eq. 10, in this reading
    lhs: tuple[float, ...]  # of Eq. 10 on test data, one a repetition, to 6 digits
    identity_errors: tuple[float, ...]  # left-hand side on the training data, over the right-hand side, minus 1

    @property
    def mean(self) -> float:
        """Mean left-hand side."""
        return float(np.mean(self.lhs))

    @property
    def sd(self) -> float:
        """Standard deviation of the left-hand sides, ddof 1."""
        return float(np.std(self.lhs, ddof=1))


@dataclass(frozen=True)
class Simulations:
    """All cells, and how they were simulated."""

    seed: int
    num_repetitions: int
    stopped_after: int
    converged_within: int
    versions: dict[str, str]
    commit: str | None
    wall_s: float
    cells: tuple[Cell, ...]


def _empty_cells() -> list[Cell]:
    """What is simulated; with the weights as printed, which are misprints, networks are stopped only."""
    kinds: list[tuple[Simulation, Training]] = [("Sim1", "converged"), ("Sim2", "stopped"), ("Sim2", "converged")]
    return [
        Cell(simulation, training, *weight[:3], weight.rhs, (), ())
        for simulation, training in kinds
        for weight in WEIGHTS
        if (simulation, training, weight.reading) != ("Sim2", "converged", "printed")
    ]


class Printed(NamedTuple):
    """A cell as the paper prints it."""

    rhs: float
    mean: float
    sd: float


@cache
def printed() -> dict[tuple[str, str], Printed]:
    """Table 1 as printed, by simulation and printed lambda_0."""
    lines = paper.lines("table1.csv")
    return {
        (line["simulation"], line["lambda_0"]): Printed(*(float(line[name]) for name in Printed._fields))
        for line in lines
    }


# Simulating


def simulate(num_repetitions: int = 100, seed: int = 0) -> Simulations:
    """Both simulations of Table 1, every repetition with data of its own; the first ones do not depend on how many.

    Args:
        num_repetitions: at least 2.
        seed: of data and initial weights, >= 0.

    Raises:
        ValueError: either is too small.
    """
    if num_repetitions < 2 or seed < 0:
        raise ValueError(f"2 repetitions or more and a seed >= 0 are needed, got {num_repetitions} and {seed}")
    keep_freed_memory()
    began, known_commit = time.monotonic(), commit()
    with ThreadPoolExecutor(min(MOST_THREADS, num_cores())) as pool:
        found = np.array(list(pool.map(partial(_repeat, seed), range(num_repetitions))))  # [repetitions, cells, 2]
    cells = tuple(
        replace(cell, lhs=_digits(lhs, 6), identity_errors=_digits(errors, 3))
        for cell, lhs, errors in zip(_empty_cells(), found[..., 0].T, found[..., 1].T, strict=True)
    )
    versions = {package: version(package) for package in ("lossbench", "numpy", "scipy")}
    wall_s = round(time.monotonic() - began, 1)
    return Simulations(seed, num_repetitions, STOPPED_AFTER, CONVERGED_WITHIN, versions, known_commit, wall_s, cells)


def _digits(values: np.ndarray, number: int) -> tuple[float, ...]:
    return tuple(float(f"{value:.{number}g}") for value in values)


class Data(NamedTuple):
    """Samples of class 0, then of class 1."""

    features: np.ndarray  # [F, N], the last one is constantly 1
    num_class_0: int

    @property
    def target(self) -> np.ndarray:
        """Classes, [N]."""
        return (np.arange(self.features.shape[1]) >= self.num_class_0).astype(float)

    def left_hand_side(self, probability: np.ndarray) -> np.ndarray:
        """(1 - p00) / p10 of Eq. 10, [W], from probabilities of class 1, [W, N]."""
        wrong_0, right_1 = np.split(probability, [self.num_class_0], axis=1)
        return np.asarray(wrong_0.mean(axis=1) / (1 - right_1).mean(axis=1))


def draw(simulation: Simulation, generator: np.random.Generator, numbers: tuple[int, int]) -> Data:
    """Data of a simulation, as the paper defines them after Table 1; `N + U` is the sum of independent draws."""
    if simulation == "Sim1":
        classes = [
            generator.normal(1.5, 1, (1, numbers[0])) + generator.uniform(-0.5, 0, (1, numbers[0])),
            generator.normal(-1.5, 1, (1, numbers[1])) + generator.uniform(0, 0.5, (1, numbers[1])),
        ]
    else:
        classes = [
            generator.normal(1, 1, (3, numbers[0])),
            generator.normal(0, math.sqrt(1.2), (3, numbers[1])),
        ]
    inputs = np.concatenate(classes, axis=1)
    return Data(np.concatenate([inputs, np.ones((1, sum(numbers)))]), numbers[0])


def sample_weights(target: np.ndarray) -> np.ndarray:
    """The weight of every sample for each of `WEIGHTS`, [W, N]; a row sums to 1, so that losses are weighted means."""
    lambda_0 = np.array([float(weight.lambda_0) for weight in WEIGHTS])[:, None]
    weights = np.where(target == 0, lambda_0, 1 - lambda_0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _repeat(seed: int, repetition: int) -> np.ndarray:
    """One repetition of all cells, [cells, 2]: left-hand side on test data, error of the identity on training data."""
    found = {}
    for number, simulation in enumerate(get_args(Simulation), start=1):
        generator = np.random.default_rng([seed, number, repetition])
        train, test = (draw(simulation, generator, numbers) for numbers in (NUM_TRAIN, NUM_TEST))
        for training, predict in _fits(simulation, train, generator).items():
            sides = (data.left_hand_side(predict(data.features)) for data in (test, train))
            for weight, lhs, identity in zip(WEIGHTS, *sides, strict=True):
                found[simulation, training, *weight[:3]] = lhs, identity / weight.rhs - 1
    return np.array([found[astuple(cell)[:5]] for cell in _empty_cells()])


def _fits(simulation: Simulation, train: Data, generator: np.random.Generator) -> dict[Training, Predict]:
    """What was fitted to the training data: functions from features [F, N] to probabilities of class 1 [W, N]."""
    weights = sample_weights(train.target)
    if simulation == "Sim1":
        coefficients = fit_logistic(train.features, train.target, weights)
        return {"converged": lambda features: expit(coefficients @ features)}
    start = np.tile(generator.uniform(-0.7, 0.7, num_parameters(len(train.features))), (len(WEIGHTS), 1))
    last = np.array([CONVERGED_WITHIN if weight.reading == "corrected" else STOPPED_AFTER for weight in WEIGHTS])
    stopped, converged = fit_networks(train.features, train.target, weights, start, STOPPED_AFTER, last)
    return {
        "stopped": lambda features: expit(network_logits(stopped, features)),
        "converged": lambda features: expit(network_logits(converged, features)),
    }


# Files


def path_below(folder: str | Path) -> Path:
    """Where simulations lie, below `output_dir` the own ones and below `results_dir` the committed ones."""
    return Path(folder) / "simulations.json"


def write(simulations: Simulations, folder: str | Path) -> Path:
    """Write simulations below a folder, atomically; returns their file."""
    path = path_below(folder)
    write_bytes(path, to_json(asdict(simulations)) + b"\n")
    return path


def load(output_dir: str | Path, results_dir: str | Path | None) -> Simulations | None:
    """The own simulations, else the committed ones; None where there are none.

    Raises:
        ValueError: the file is damaged.
    """
    folders = (output_dir,) if results_dir is None else (output_dir, results_dir)
    found = [path for path in map(path_below, folders) if path.exists()]
    return _read(found[0]) if found else None


def _read(path: Path) -> Simulations:
    try:
        fields = json.loads(read_file(path))
        number, cells = fields["num_repetitions"], tuple(_cell(cell) for cell in fields["cells"])
        simulations = Simulations(**fields | {"cells": cells})
        origin = (simulations.seed, simulations.commit, simulations.versions, simulations.wall_s)
        if not all(map(isinstance, origin, (int, str | None, dict, float))):
            raise ValueError("it does not tell where it comes from")
        if [replace(cell, lhs=(), identity_errors=()) for cell in cells] != _empty_cells():
            raise ValueError("the cells are not those of Table 1")
        sides = [side for cell in cells for side in (cell.lhs, cell.identity_errors)]
        if number < 2 or not all(len(side) == number and all(map(math.isfinite, side)) for side in sides):
            raise ValueError(f"a cell does not hold {number} finite numbers, at least 2")
    except DAMAGES as error:
        raise ValueError(
            f"{path} holds damaged simulations ({type(error).__name__}: {error!s:.200}); remove it, and "
            f"`lossbench simulate` writes it anew"
        ) from error
    return simulations


def _cell(fields: dict[str, Any]) -> Cell:
    return Cell(**fields | {name: tuple(fields[name]) for name in ("lhs", "identity_errors")})
