"""The quick form of a comparison: fewer images, epochs, learning rates and seeds, so that it ends in two minutes."""

from collections.abc import Iterator
from dataclasses import replace

from lossbench.config.run import Config, run_id
from lossbench.data.sizes import sizes
from lossbench.studies.comparison import Comparison
from lossbench.studies.fixed_rules import FixedRules
from lossbench.studies.learning_rates import Rates

RATES = Rates(grid=(0.01, 0.03, 0.1, 0.3, 1.0), below=(0.003,), above=(3.0,), most_extensions=1)
SELECTION_SEEDS = (1000,)
NUM_SEEDS = 3
EPOCHS = 3
MILESTONES = [0.6]
"""The last of three epochs has a tenth of the learning rate: so few steps at a constant one end anywhere."""

IMAGES = (1000, 2000, 5000, 10_000, 20_000)
"""Numbers of training images, of which the largest is taken that fits into the time."""

SECONDS = 85.0
"""For training; starting, measuring and the page need the rest of two minutes."""

WHAT_IT_IS = (
    "A first answer in about two minutes: part of the training images, 3 epochs, the last at a tenth of the rate, few "
    "seeds. Without --quick the comparison is complete."
)


def quick_ones(whole: Comparison, num_seeds: int | None) -> Iterator[Comparison]:
    """The quick forms of a comparison, from few training images to many, one at least.

    Args:
        whole: the complete comparison.
        num_seeds: reported runs of each loss and learning rate; None: `NUM_SEEDS`.
    """
    available = sizes(whole.config.dataset).num_train
    numbers: list[int | None] = [number for number in IMAGES if number < 0.9 * available]
    rules = replace(whole.rules, num_seeds=num_seeds or NUM_SEEDS, rates=RATES, selection_seeds=SELECTION_SEEDS)
    for number in numbers or [None]:
        losses = {label: _shortened(config, number) for label, config in whole.losses.items()}
        yield Comparison(losses, rules)


def _shortened(config: Config, num_train: int | None) -> Config:
    dataset = config.dataset if num_train is None else replace(config.dataset, num_train=num_train)
    given = config.schedule
    milestones = given.milestones or MILESTONES
    schedule = replace(given, epochs=min(EPOCHS, given.epochs), milestones=list(milestones))
    return replace(config, dataset=dataset, schedule=schedule)


def chosen_before(ones: list[Comparison], known: FixedRules) -> Comparison | None:
    """The quick form whose rules were fixed earlier; None: none of them."""
    for one in ones:
        if {label: run_id(config) for label, config in one.losses.items()} == known.rules.get("losses"):
            return one
    return None


def fitting(ones: list[Comparison], parallel: int) -> Comparison:
    """The quick form with the most images whose runs fit into the time on this machine, by a measured step."""
    from lossbench.sweep.cost import flops, flops_per_step
    from lossbench.training.speed import seconds_per_step

    base = ones[0].losses[ones[0].rules.baseline]
    seconds_per_flop = seconds_per_step(base) / flops_per_step(base) / parallel

    def seconds(one: Comparison) -> float:
        runs = len(one.losses) * (len(one.rules.rates.grid) + 2 * one.rules.num_seeds)
        return runs * flops(one.losses[one.rules.baseline]) * seconds_per_flop

    return max((one for one in ones if seconds(one) <= SECONDS), key=seconds, default=ones[0])
