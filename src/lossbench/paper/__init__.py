"""The paper's printed numbers, as package data."""
