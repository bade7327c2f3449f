"""Hundreds of run folders as real ones, made without training."""

import json
from dataclasses import replace
from pathlib import Path

import many_runs
from many_runs import Template
from tables_of_runs import add, config

from lossbench.config.registry import LOSSES
from lossbench.config.run import Schedule

SCORES = {"nll": 0.5, "brier": 0.1, "ece": 0.02, "adaptive_ece": 0.02, "overconfidence": 0.01}


def templates() -> list[Template]:
    """A run of each loss, in `outputs` of the present folder."""
    found = []
    for place, name in enumerate(many_runs.LOSSES):
        scores = dict.fromkeys(("softmax", "sigmoid", "sigmoid_normalised", "own", "tempered"), SCORES)
        made = replace(config(LOSSES[name].options()), schedule=Schedule(epochs=20))
        run = add(made, 0.90 + place / 100, scores=scores, train_accuracy=0.95, wall_s=1.5)
        files = {path.name: path.read_bytes() for path in run.folder.iterdir()}
        found.append(Template(json.loads(files["result.json"]), {key: files[key] for key in many_runs.FILES[1:3]}))
    return found


def write(counts: tuple[int, ...], folder: Path) -> dict[int, Path]:
    """Folders of runs by their number of runs."""
    known, made = templates(), {}
    for count in counts:
        made[count] = folder / f"outputs{count}"
        many_runs.write_runs(count, known, made[count])
    return made
