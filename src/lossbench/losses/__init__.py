"""Losses: one file each, with options and a pure function of logits and target."""

from lossbench.losses.entmax import entmax, entmax_probabilities
from lossbench.losses.rankmax import rankmax
from lossbench.losses.rg2 import rg2
from lossbench.losses.sparsemax import sparsemax, sparsemax_probabilities
from lossbench.losses.squared import squared
from lossbench.losses.taylor_softmax import taylor_softmax

__all__ = [
    "entmax",
    "entmax_probabilities",
    "rankmax",
    "rg2",
    "sparsemax",
    "sparsemax_probabilities",
    "squared",
    "taylor_softmax",
]
