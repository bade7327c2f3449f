"""Doing many runs on one machine: skip, schedule, resume, report progress."""
