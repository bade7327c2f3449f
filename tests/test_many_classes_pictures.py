"""Pictures of quality over cost in the study of many classes, from invented runs and times of steps."""

import math
from pathlib import Path
from typing import Any

import pytest
from invented import Known

from lossbench.config.run import run_id
from lossbench.runs import measurements as store
from lossbench.studies.many_classes import plan, step_times
from lossbench.studies.many_classes.evidence import Evidence
from lossbench.studies.many_classes.quality_pictures import course, split, tradeoff

NLLS = {"SML": 4.9, "Sampled softmax, m=20": 5.1, "Sampled softmax, m=100": 5.0, "NCE, m=100, no prior biases": 13.0}
COSTS = {"SML": 1.0, "Sampled softmax, m=20": 0.05, "Sampled softmax, m=100": 0.0625, "LGL": 1.5}
WOBBLE = (0.0, 0.01, -0.01, 0.02, -0.02)


def put(results: Known, label: str, nll: float, num: int = 5, diverged: int = 0) -> None:
    """The runs that choose a method's learning rate, and its reported ones: a nat more an epoch before the end."""
    comparison = plan.comparison()
    for lr in comparison.wanted(label, results.accuracy):
        for config in comparison.selecting(label, lr):
            results.add(config, 0.2 - abs(math.log10(lr / 0.1)) / 10)
    cell = comparison.at_own(label, results.accuracy)
    assert cell is not None
    for place, config in enumerate(cell.configs):
        if place < num:
            values = [math.exp(nll + WOBBLE[place] + more) for more in (2.0, 1.0, 0.0)]
            curves = {"test/accuracy": [0.1, 0.15, 0.2], "test/perplexity": values}
            fields = {"metrics": {"test/perplexity": values[-1]}, "curves": curves, "num_train": 5120}
            within = [{"step": 5, "test/perplexity": math.exp(nll + WOBBLE[place] + 3)}] if label == "SML" else []
            results.add(config, 0.2, **fields | {"within_epochs": within})
        elif place < num + diverged:
            results.diverged |= {run_id(config)}


def timed(results: Known, folder: Path) -> None:
    losses: dict[str, Any] = {}
    for label, ratio in COSTS.items():
        step = {"median": ratio, "low": ratio, "high": ratio}
        losses[label] = {"failed": None, "step": step, "step_mb": 1.0, "rounds": 9}
    about = {"device": "a processor", "torch": "2.15.0", "batch_size": 512}
    store.write(step_times.identity(), folder, {"losses": losses} | about)
    results.places = (folder,)


def known(folder: Path, **more: Any) -> Evidence:
    results = Known()
    for label, nll in NLLS.items():
        put(results, label, nll, **more)
    timed(results, folder)
    return Evidence(results)


def test_points_are_means_with_intervals_at_the_cost_of_a_step(tmp_path: Path) -> None:
    picture = tradeoff(known(tmp_path))
    # mean 5.0 and sd 0.0158 of five runs: +- 2.776 sd / sqrt(5)
    assert "Sampled softmax, m=100: cost 0.0625, 5.000 (4.980 to 5.020), n=5." in picture.alt
    assert "SML: cost 1, 4.900 (4.880 to 4.920), n=5." in picture.alt
    assert "Pareto front by rising cost: Sampled softmax, m=20; Sampled softmax, m=100; SML." in picture.alt
    assert "NCE, m=100, no prior biases: cost not measured, 13.000" in picture.alt
    assert "LGL: not yet run." in picture.alt
    assert "12 epochs" not in picture.alt
    assert "Time of a step: a processor, 1 thread, torch 2.15.0" in picture.caption
    assert picture.data is not None
    both = picture.data[picture.data.method == "Sampled softmax"]
    assert both.m.tolist() == [20, 100, 500]
    assert both.relative_cost.tolist()[:2] == [0.05, 0.0625]


def test_the_course_is_that_of_the_tests(tmp_path: Path) -> None:
    picture = course(known(tmp_path))
    assert picture.data is not None
    of_sml = picture.data[picture.data.method == "SML"]
    assert of_sml.cost.tolist() == [0.5, 1, 2, 3]
    assert of_sml.nll_nats.tolist() == pytest.approx([7.9, 6.9, 5.9, 4.9])
    of_sampled = picture.data[picture.data.method == "Sampled softmax, m=20"]
    assert of_sampled.cost.tolist() == pytest.approx([0.05, 0.1, 0.15])
    assert of_sampled.nll_nats.tolist() == pytest.approx([7.1, 6.1, 5.1])
    assert "SML: 7.900 at cost 0.5 to 4.900 at cost 3, n=5." in picture.alt
    assert "NCE, m=100, no prior biases: not yet run." in picture.alt, "its cost is not known"


def test_runs_that_are_missing_or_diverged_are_told(tmp_path: Path) -> None:
    some = known(tmp_path / "some", num=2)
    assert "SML: cost 1, 4.905 (4.841 to 4.969), n=2." in tradeoff(some).alt
    assert "Hollow: not all runs are done." in tradeoff(some).caption
    lost = known(tmp_path / "lost", num=3, diverged=2)
    assert "SML: cost 1, 4.900 (4.875 to 4.925), n=3, 2 diverged." in tradeoff(lost).alt
    assert "Hollow" not in tradeoff(lost).caption
    one = known(tmp_path / "one", num=1)
    assert "SML: cost 1, 4.900, n=1." in tradeoff(one).alt
    every = known(tmp_path / "every", num=0, diverged=5)
    assert "SML: all runs diverged." in tradeoff(every).alt
    empty = course(every).data
    assert empty is not None
    assert len(empty) == 0
    assert list(empty.columns) == ["method", "kind", "cost", "nll_nats", "n"]


def test_without_runs_or_times_there_are_pictures(tmp_path: Path) -> None:
    for evidence in (Evidence(Known()), Evidence(Known())):
        for picture in (tradeoff(evidence), course(evidence)):
            assert "The time of a step is not yet measured." in picture.caption
            picture.drawing.function(*picture.drawing.arguments)
    results = Known()
    put(results, "SML", 4.9)
    assert "SML: cost not measured, 4.900 (4.880 to 4.920), n=5." in tradeoff(Evidence(results)).alt
    timed(results, tmp_path)
    assert "SML: cost 1, 4.900" in tradeoff(Evidence(results)).alt


def test_the_number_of_draws_is_taken_from_the_label_alone() -> None:
    assert split(plan.method("NCE, m=20")) == ("NCE", 20)
    assert split(plan.method("NCE, m=100, no prior biases")) == ("NCE, m=100, no prior biases", None)
    assert split(plan.method("Sampled softmax, hits masked")) == ("Sampled softmax, hits masked", None)
    assert split(plan.method("LGL")) == ("LGL", None)
