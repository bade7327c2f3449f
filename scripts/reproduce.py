"""Reproduces the paper's tables and figures: python scripts/reproduce.py profile=quick tables=[3,5] seeds=1."""

from lossbench.cli.reproduce import reproduce

if __name__ == "__main__":
    reproduce()
