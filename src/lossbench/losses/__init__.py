"""Losses: one file each, with options and a pure function of logits and target."""

from lossbench.losses.brier import brier
from lossbench.losses.entmax import entmax, entmax_probabilities
from lossbench.losses.gce import gce
from lossbench.losses.label_smoothing import label_smoothing
from lossbench.losses.mae import mae
from lossbench.losses.one_minus_p_squared import one_minus_p_squared
from lossbench.losses.poly1 import poly1
from lossbench.losses.rankmax import rankmax
from lossbench.losses.rg2 import rg2
from lossbench.losses.sparsemax import sparsemax, sparsemax_probabilities
from lossbench.losses.spherical import spherical
from lossbench.losses.squared import squared
from lossbench.losses.taylor_softmax import taylor_softmax

__all__ = [
    "brier",
    "entmax",
    "entmax_probabilities",
    "gce",
    "label_smoothing",
    "mae",
    "one_minus_p_squared",
    "poly1",
    "rankmax",
    "rg2",
    "sparsemax",
    "sparsemax_probabilities",
    "spherical",
    "squared",
    "taylor_softmax",
]
