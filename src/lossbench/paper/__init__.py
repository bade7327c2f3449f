"""The paper's printed numbers, its claims, and the labels of its data sets, as package data."""
