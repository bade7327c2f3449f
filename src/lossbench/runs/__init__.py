"""Runs on disk: folders, records, archives and their checks."""
