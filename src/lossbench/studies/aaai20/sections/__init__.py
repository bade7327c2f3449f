"""Sections of the report on the paper."""
