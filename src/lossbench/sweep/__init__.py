"""Executing many runs on one machine: skipping, scheduling, resuming, progress."""
