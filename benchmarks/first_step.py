"""Prints the time from the interpreter's start to the end of a run's first step, in s; used by cpu.py.

Arguments: the system clock's time at the start, then overrides as for scripts/train.py.
"""

import os
import sys
import time
from typing import Any

from lossbench.cli.train import train

if __name__ == "__main__":
    began = float(sys.argv.pop(1))
    from lossbench.training import steps

    train_step = steps.train_step

    def only_step(*arguments: Any) -> None:
        train_step(*arguments)
        print(f"first step after {time.time() - began:.4f}", flush=True)
        os._exit(0)

    steps.train_step = only_step
    train()
