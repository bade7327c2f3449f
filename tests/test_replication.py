"""The runs of the second round: which, with which seeds, and what follows from what."""

import math
from itertools import product

import pytest
from invented import unknown

from lossbench.config.run import Config, Runtime, run_id
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.studies.aaai20 import second_runs, variants
from lossbench.studies.aaai20.conditions import PLACES, RATES, reference_blocks
from lossbench.studies.aaai20.keys import labelled
from lossbench.studies.aaai20.second_runs import BLIND_SEEDS, CHOICE_SEEDS, MNIST, blocks, choice
from lossbench.studies.learning_rates import Choice
from lossbench.studies.study import Accuracy

OWN = {"lgl": 1.0, "sml": 0.1, "lgl_inr": 0.01}


def peaks(first: dict[str, float], later: dict[str, float] | None = None, wobble: float = 0.0) -> Accuracy:
    """Validation curves of single peaks, by loss: of the seed that chose first, and of those that choose again."""

    def accuracy(config: Config) -> float | None:
        if not config.dataset.num_validation:
            return None
        lrs = first if config.seed == 1000 else later
        if lrs is None:
            return None
        noise = wobble * (config.seed - 1002.5) * (config.schedule.lr > lrs[config.loss.name])
        return 0.9 - abs(math.log(config.schedule.lr / lrs[config.loss.name])) / 100 + noise

    return accuracy


def planned(accuracy: Accuracy) -> dict[str, list[Config]]:
    return dict(blocks(Runtime(), accuracy))


def test_the_runs_are_those_of_the_rules_in_their_order() -> None:
    found = planned(peaks(OWN, OWN))
    assert {name: len(configs) for name, configs in found.items()} == {
        "blind seeds of CNN2C": 65,  # 45 and, at learning rates of their own, 20: here LGL-INR's is the paper's
        "learning rates of CNN2C on MNIST, on validation images": 18,
        "learning rates of CNN2C on MNIST, one step beyond an edge of the grid": 1,
        "learning rates of CNN2C on MNIST, two steps beyond": 0,
        "MNIST, each loss at its own learning rate": 15,
        "learning rates of CNN2C again, four seeds": 72,
        **{f"learning rates of CNN2C again, beyond an edge ({nth})": 0 for nth in (1, 2, 3)},
        "where four seeds choose another learning rate": 0,
        "beta 0, blind seeds": 15,
        "beta 0, first seeds": 15,
        "LGL as a sum over classes, blind seeds": 15,
        "LGL as a sum over classes, first seeds": 15,
        "learning rates of CNN2C, decaying learning rate, on validation images": 36,
        "learning rates of CNN2C, decaying learning rate, one step beyond an edge of the grid": 2,
        "learning rates of CNN2C, decaying learning rate, two steps beyond": 0,
        "CNN2C, decaying learning rate, own ones": 30,
    }
    blind = found["blind seeds of CNN2C"]
    assert {config.seed for config in blind} == set(BLIND_SEEDS) == {5, 6, 7, 8, 9}
    assert {config.seed for config in found["learning rates of CNN2C again, four seeds"]} == {1001, 1002, 1003, 1004}
    for name, configs in found.items():
        assert [config.seed for config in configs] == sorted(config.seed for config in configs), name
        assert len({repr(config.runtime) for config in configs}) <= 1, name


def test_no_run_of_them_was_planned_before_but_where_the_rules_say_so() -> None:
    accuracy = peaks(OWN, OWN)
    before = {run_id(c) for _, configs in reference_blocks(True, Runtime(), accuracy) for c in configs}
    before |= {run_id(c) for _, configs in variants.blocks(True, Runtime()) for c in configs}
    shared = {name: len({run_id(c) for c in configs} & before) for name, configs in planned(accuracy).items()}
    assert {name: count for name, count in shared.items() if count} == {
        "beta 0, first seeds": 3,
        "LGL as a sum over classes, first seeds": 3,
    }


def test_the_decaying_rate_is_the_only_difference_of_the_second_protocol() -> None:
    cell = second_runs.decayed(peaks(OWN))[labelled("CNN2C", "KMNIST", "SML")]
    assert [cell.config.schedule.lr_at(epoch) for epoch in (1, 10, 11, 15, 16, 20)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    )
    assert [config.seed for config in cell.configs] == list(BLIND_SEEDS)


def test_a_choice_waits_for_all_seeds_and_takes_the_best_mean() -> None:
    assert choice(PLACES[0], Sml(), unknown) is None
    waiting = choice(PLACES[0], Sml(), peaks(OWN))
    assert waiting is not None
    assert (waiting.window, waiting.best) == ((0.03, 0.1, 0.3), None)
    same = choice(PLACES[0], Sml(), peaks(OWN, OWN))
    assert same is not None
    assert (same.window, same.best) == ((0.03, 0.1, 0.3), 0.1)
    assert same.accuracies[0.1] == (0.9,) * len(CHOICE_SEEDS)


@pytest.mark.parametrize(
    ("later", "window", "best"),
    [
        (0.03, (0.01, 0.03, 0.1, 0.3), 0.03),  # a best at the edge of the window extends it
        (0.003, (0.001, 0.003, 0.01, 0.03, 0.1, 0.3), 0.003),
        (0.3, (0.03, 0.1, 0.3, 1.0), 0.3),
        (100.0, RATES.steps[RATES.steps.index(0.03) :], 10.0),  # until there is no further rate
    ],
)
def test_a_window_grows_at_its_edges(later: float, window: tuple[float, ...], best: float) -> None:
    found = choice(PLACES[0], Sml(), peaks(OWN, {**OWN, "sml": later}))
    assert found is not None
    assert (found.window, found.best) == (window, best)
    plan = planned(peaks(OWN, {**OWN, "sml": later}))
    beyond = plan["learning rates of CNN2C again, beyond an edge (1)"]
    wanted = set(product(set(window) - {0.03, 0.1, 0.3}, CHOICE_SEEDS))
    assert {(config.schedule.lr, config.seed) for config in beyond} == wanted
    otherwise = plan["where four seeds choose another learning rate"]
    assert {(config.dataset.name, config.loss.name, config.schedule.lr, config.seed) for config in otherwise} == {
        (place.dataset, "sml", best, seed) for place in PLACES for seed in BLIND_SEEDS
    }


def test_a_rate_at_which_a_seed_diverged_is_worse_than_any_without() -> None:
    def accuracy(config: Config) -> float | None:
        diverged = config.seed == 1003 and config.schedule.lr == 0.1
        return math.nan if diverged else peaks(OWN, OWN)(config)

    found = choice(PLACES[0], Sml(), accuracy)
    assert found is not None
    assert found.best == 0.3


def test_cells_beside_the_papers() -> None:
    assert list(second_runs.even_weights()) == list(second_runs.lgl_sums()) == ["mnist", "fmnist", "kmnist"]
    assert all(cell.config.loss == LglInr(beta=0.0) for cell in second_runs.even_weights().values())
    assert second_runs.mnist_own(unknown) == {}
    assert MNIST.config(Sml(), Runtime(), 6000).seed == 1000
    assert isinstance(choice(PLACES[1], LglInr(), peaks(OWN, OWN)), Choice)
