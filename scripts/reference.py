"""Trains the planned reference runs; records go to results/: python scripts/reference.py runtime.budget_min=60."""

from lossbench.cli.reference import reference

if __name__ == "__main__":
    reference()
