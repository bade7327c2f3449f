"""How long runs will take, in words."""

from collections.abc import Iterable, Sequence

from lossbench.config.run import Config
from lossbench.sweep.estimate import COUNTED, Estimates, place_here


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
    """`hours` as words for the terminal; empty for no runs."""
    if not configs:
        return ""
    total, counted = hours(configs, known, device)
    unit = "core-hours" if device == "cpu" else "hours"
    of_these = f" for {counted} of these runs" if counted < len(configs) else ""
    return f"about {total:.1f} {unit}" + (f", from no measured run{of_these}" if counted else "")
