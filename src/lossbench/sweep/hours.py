"""How long runs will take, and the energy for them, in words."""

from collections.abc import Iterable, Sequence

from lossbench.config.run import Config
from lossbench.sweep.estimate import COUNTED, Estimates, place_here
from lossbench.sweep.plan import Power, Target, two_figures


def hours(configs: Iterable[Config], known: Estimates, device: str) -> tuple[float, int]:
    """Core-hours (on a GPU: hours) of some runs, and the number of those estimated without any measured run.

    Args:
        configs: the runs.
        known: the measured runs.
        device: "cpu" or "cuda", of this machine.
    """
    place = place_here(device)
    estimates = [known.estimate(config, place) for config in configs]
    return sum(one.seconds for one in estimates) / 3600, sum(one.level is COUNTED for one in estimates)


def in_words(configs: Sequence[Config], known: Estimates, device: str) -> str:
    """`hours` as words for the terminal, with their energy; empty for no runs."""
    if not configs:
        return ""
    total, counted = hours(configs, known, device)
    unit = "core-hours" if device == "cpu" else "hours"
    of_these = f" for {counted} of these runs" if counted < len(configs) else ""
    energy = total * Power().watts(Target("here", place_here(device))) / 1000
    basis = f", from no measured run{of_these}" if counted else ""
    return f"about {total:.1f} {unit}, {two_figures(energy)} kWh{basis}"
