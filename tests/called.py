"""The commands behind scripts/, called in this process."""

from types import ModuleType

from lossbench.cli import profile, reference, report, reproduce, train

MODULES: dict[str, ModuleType] = {
    "train": train,
    "profile_run": profile,
    "reproduce": reproduce,
    "reference": reference,
    "report": report,
}


def call(script: str) -> None:
    """Do what scripts/SCRIPT.py does, with the arguments in `sys.argv`."""
    getattr(MODULES[script], script)()
