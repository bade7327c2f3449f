"""The paper's printed numbers and its claims, as package data."""
