"""Executing a command's runs where its launcher says."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from lossbench.config.run import Config
from lossbench.engines.options import JobLauncher, Launcher

if TYPE_CHECKING:
    from lossbench.sweep.run_all import Summary


def launched(
    launcher: Launcher,
    configs: Sequence[Config],
    elsewhere: Collection[str] = (),
    words: Mapping[str, str] | None = None,
) -> "Summary | None":
    """Execute the runs of a list that are not finished, where the launcher says; see `engines.launch.run_on`.

    Returns:
        The outcome; None if the runs are submitted and not waited for.

    Raises:
        ValueError: the runs cannot be executed, or the engine cannot be used.
    """
    from lossbench.engines.launch import run_on

    return run_on(launcher, configs, lambda: _estimate(launcher, configs[0].runtime.output_dir), elsewhere, words)


def _estimate(launcher: Launcher, output_dir: str) -> Callable[[Config], float]:
    """Estimated time of a run in s, by the measured runs."""
    from lossbench.runs.records import all_records
    from lossbench.sweep.estimate import Estimates
    from lossbench.system.shipped import RESULTS

    assert isinstance(launcher, JobLauncher)
    known = Estimates.from_records(all_records(output_dir, RESULTS).records.values())
    device = "cuda" if launcher.gpus_per_job else "cpu"
    return lambda config: known.seconds(config, device, config.runtime.num_threads or launcher.cpus_per_run)
