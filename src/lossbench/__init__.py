"""lossbench: compare classification losses fairly, and reproduce one paper's tables to show how."""

__version__ = "0.1.0"

NUMERICS = 2
"""Increased whenever the same config would give different numbers; part of every run's name."""
