"""The study of many classes: which runs it plans, in which order, own learning rates, and the known posterior."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from invented_many_classes import Measured, Study, give_posterior

from lossbench.config.run import Config, Optimizer, Runtime, run_id
from lossbench.data.gaussian_classes import Frequencies
from lossbench.report.blocks import Table
from lossbench.studies.many_classes import known_posterior, plan
from lossbench.studies.study import STUDIES, Known, Planned


@pytest.fixture(scope="module")
def chosen() -> Study:
    return Study()


def planned(accuracy: Any = None) -> list[Planned]:
    return list(STUDIES["many_classes"].plan(Known(accuracy=accuracy or (lambda config: None))))


def losses(configs: Iterable[Config]) -> set[str]:
    return {plan.key_of(config.loss) for config in configs}


def test_reported_runs_are_as_the_rules_say(chosen: Study) -> None:
    for one in plan.METHODS:
        configs = chosen.configs(one.label)
        assert [config.seed for config in configs] == [0, 1, 2, 3, 4]
        for config in configs:
            schedule = config.schedule
            assert (config.dataset.name, config.model.name, config.loss) == ("words", "word2next", one.loss)
            assert (schedule.optimizer, schedule.batch_size, schedule.lr) == (Optimizer.adagrad, 512, 0.1)
            assert schedule.epochs == (12 if one.label == "Sampled softmax, m=100, 12 epochs" else 3)
            assert schedule.evaluate_every_steps == (291 if one.label == "SML" else None)
            biased = one.label != "NCE, m=100, no prior biases"
            assert config.model.prior_bias is biased  # type: ignore[attr-defined]
            assert config.dataset.num_validation is None
    labels = [one.label for one in plan.METHODS]
    assert len(labels) == len(set(labels)) == 26
    names = {run_id(config) for label in labels for config in chosen.configs(label)}
    assert len(names) == 26 * 5, "all methods have runs of their own"


def test_learning_rates_are_chosen_in_one_epoch_with_seed_1000(chosen: Study) -> None:
    for label in ("SML", plan.LONG_LABEL):
        for lr in plan.RATES.steps:
            (config,) = chosen.comparison.selecting(label, lr)
            assert (config.seed, config.schedule.epochs, config.schedule.lr) == (1000, 1, lr)
            assert config.schedule.evaluate_every_steps is None
            assert config.dataset.num_validation == 74_450
    long, short = (chosen.comparison.selecting(label, 0.1) for label in (plan.LONG_LABEL, plan.SAMPLED_LABEL))
    assert run_id(long[0]) == run_id(short[0]), "the same rate for both"


@pytest.mark.parametrize(
    ("best", "tried", "own"),
    [
        (0.1, (0.03, 0.1, 0.3), (0.1, False)),
        (0.3, (0.03, 0.1, 0.3, 1), (0.3, False)),
        (1, (0.03, 0.1, 0.3, 1, 3), (1, False)),
        (3, (0.03, 0.1, 0.3, 1, 3), (3, True)),
        (0.01, (0.003, 0.01, 0.03, 0.1, 0.3), (0.01, False)),
        (0.003, (0.003, 0.01, 0.03, 0.1, 0.3), (0.003, True)),
    ],
)
def test_the_grid_is_extended_twice_at_most(best: float, tried: tuple[float, ...], own: tuple[float, bool]) -> None:
    study = Study()
    study.choose("LGL", best)
    accuracy = study.results.accuracy
    assert study.comparison.wanted("LGL", accuracy) == pytest.approx(tried)
    found = study.comparison.own_lr("LGL", accuracy)
    assert found is not None
    assert (found.lr, found.at_edge) == own
    assert all(config.schedule.lr == best for config in study.configs("LGL"))


def test_of_equal_rates_the_smaller_one_and_none_that_diverged() -> None:
    study = Study()

    def give(*accuracies: float) -> None:
        for lr, accuracy in zip(plan.RATES.grid, accuracies, strict=True):
            (config,) = study.comparison.selecting("SML", lr)
            study.results.records = {k: v for k, v in study.results.records.items() if k != run_id(config)}
            if math.isnan(accuracy):
                study.results.diverged |= {run_id(config)}
            else:
                study.results.add(config, accuracy)

    give(0.1, 0.2, 0.2)
    assert study.configs("SML")[0].schedule.lr == 0.1
    give(0.1, 0.05, math.nan)
    found = study.comparison.wanted("SML", study.results.accuracy)
    assert found[:2] == (0.01, 0.03), "0.03 is at an edge"


def test_fast_methods_then_the_posterior_then_slow_ones(chosen: Study) -> None:
    results = chosen.copy().results
    for frequencies in Frequencies:
        give_posterior(results, frequencies, 100, {})
    found = planned(results.accuracy)
    names = [name for name, _ in found]
    words = "many classes, words, "
    assert names[0] == f"{words}learning rates"
    assert names[3] == f"{words}each loss at its own learning rate"
    places = [
        0 if not name.startswith("many classes, known") and "slow" not in name else 2 if "slow methods" in name else 1
        for name in names
    ]
    assert places == sorted(places)
    assert set(places) == {0, 1, 2}
    slow = losses(plan.method(label).config() for label in ("SML", "LGL", "LGL-INR", "Sparsemax"))
    fast = losses(one.config() for one in plan.METHODS if not one.is_slow)
    by_place = [[configs for place, (_, configs) in zip(places, found, strict=True) if place == at] for at in range(3)]
    assert losses(config for configs in by_place[0] for config in configs) == fast
    assert losses(config for configs in by_place[2] for config in configs) == slow
    reported = [config for config in found[3][1] if config.seed < 5]
    assert len(reported) == (26 - 3) * 5
    assert [config.seed for config in reported] == sorted(config.seed for config in reported), "whole seeds first"
    assert {config.runtime.experiment for _, configs in found for config in configs} == {"many_classes"}
    assert {config.dataset.name for configs in by_place[1] for config in configs} == {"gaussian_classes"}


def test_without_runs_only_learning_rates_are_planned() -> None:
    found = planned()
    runs = [config for _, configs in found for config in configs]
    assert {config.seed for config in runs} == {1000}
    assert {config.schedule.lr for config in runs} == {0.03, 0.1, 0.3}
    assert len({run_id(config) for config in runs}) == 25 * 3 + 2 * 3 * 3, "the long runs share the rates of the short"
    assert len(STUDIES["many_classes"].planned(Measured())) == len(found)


def test_measurements_are_times_costs_and_gradients() -> None:
    found = STUDIES["many_classes"].measurements(Known(runtime=Runtime(device="cpu")))
    names = [one.identity.name for one in found]
    assert names[0] == "step_times"
    assert len(names) == len(set(names)) == 1 + 5 + 2


def test_runs_with_a_known_posterior(chosen: Study) -> None:
    results = Measured()
    for frequencies in Frequencies:
        give_posterior(results, frequencies, 100, {})
    blocks = list(known_posterior.blocks(results.accuracy, "many_classes", Runtime()))
    runs = {run_id(config): config for _, configs in blocks for config in configs if config.seed < 1000}
    assert len(runs) == 4 * 2 * 3 * 3
    assert {config.dataset.num_classes for config in runs.values()} == {100, 1_000, 10_000, 100_000}  # type: ignore[attr-defined]
    for config in runs.values():
        assert (config.schedule.epochs, config.schedule.lr, config.model.name) == (2, 0.3, "linear")
        assert config.dataset.num_samples == 500_000  # type: ignore[attr-defined]
        assert config.seed in (0, 1, 2)
    selecting = [config for _, configs in blocks for config in configs if config.seed == 1000]
    assert {config.dataset.num_classes for config in selecting} == {1_000}  # type: ignore[attr-defined]
    assert {config.schedule.epochs for config in selecting} == {1}
    ends = [name for name, _ in blocks if name.endswith(" classes")]
    assert ends[0].endswith("100 classes")
    assert ends[-1].endswith("100,000 classes")


def test_rates_are_chosen_for_each_frequencies_alone() -> None:
    results = Measured()
    give_posterior(results, Frequencies.zipf, 100, {})
    assert len(known_posterior.reported(Frequencies.zipf, "SML", 100_000, results.accuracy)) == 3
    assert known_posterior.reported(Frequencies.uniform, "SML", 100_000, results.accuracy) == []


def test_the_table_of_the_posterior() -> None:
    results = Measured()
    assert known_posterior.posterior_blocks(results) == []
    values = {"SML": (0.1, 0.2, 0.3), "Sampled softmax, m=100": (0.4, math.nan, 0.5), "NCE, m=100": (math.nan,) * 3}
    give_posterior(results, Frequencies.uniform, 10_000, values)
    give_posterior(results, Frequencies.zipf, 100, {"SML": (0.25,)})
    (found,) = known_posterior.posterior_blocks(results)
    assert isinstance(found, Table)
    frame = found.frame
    assert list(frame.index) == [("zipf", "100"), ("uniform", "10,000")]
    assert frame.loc[("uniform", "10,000")].to_dict() == {
        "SML": "0.200 ± 0.100 (n=3)",
        "Sampled softmax, m=100": f"0.450 ± {np.std([0.4, 0.5], ddof=1):.3f} (n=2, 1 diverged)",
        "NCE, m=100": "failed: 3 diverged",
    }
    assert frame.loc[("zipf", "100")].tolist() == ["0.250 (n=1)", "missing", "missing"]
    assert "Gaussian classes in 16 dimensions, 500,000 training samples, linear network, 2 epochs" in found.caption
    assert "With 100,000 classes the network has 1,700,000 parameters" in found.caption
