"""`lossbench profile`: measures where the time of a run's steps is spent."""

import os

from lossbench.cli.hydra_main import hydra_main
from lossbench.config.run import Config


def profile_run() -> None:
    """`scripts/profile_run.py`: measure where the time of a run's steps is spent."""
    hydra_main("profile_run", _profile_run, "config")


def _profile_run(composed: Config | list[Config]) -> None:
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # before torch is imported, to silence its profiler
    from lossbench.training.profile import profile_run

    for config in composed if isinstance(composed, list) else [composed]:
        folder = profile_run(config)
        print((folder / "operations.md").read_text())
        print(f"trace, for ui.perfetto.dev: {folder / 'trace.json'}")
