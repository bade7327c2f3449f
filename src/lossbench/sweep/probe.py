"""The speed of this machine in a kind of run, measured in a second or two."""

from lossbench.config.run import Config
from lossbench.sweep.cost import work_of_steps
from lossbench.sweep.estimate import place_here, seconds_of_steps
from lossbench.training.fit import check
from lossbench.training.speed import seconds_per_step


def step_ratio(config: Config) -> float:
    """Measured over counted time of a training step of a run here, with one thread or on the GPU.

    Random inputs take the place of the data set, and nothing is written.

    Raises:
        ValueError: the run cannot be done here.
    """
    size = config.schedule.batch_size
    counted = work_of_steps(config, 1, size)
    machine = place_here(check(config).type).machine
    threads = config.runtime.num_threads or 1
    return seconds_per_step(config, with_random_data=True) / seconds_of_steps(
        counted, machine, config.schedule.precision, threads
    )
