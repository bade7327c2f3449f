"""Losses: one file each, with options and a pure function of logits and target."""

from lossbench.losses.asymmetric import asymmetric
from lossbench.losses.brier import brier
from lossbench.losses.crammer_singer import crammer_singer
from lossbench.losses.entmax import entmax, entmax_probabilities
from lossbench.losses.focal import focal
from lossbench.losses.gce import gce
from lossbench.losses.label_smoothing import label_smoothing
from lossbench.losses.ldam import ldam
from lossbench.losses.logit_adjusted import logit_adjusted
from lossbench.losses.mae import mae
from lossbench.losses.one_minus_p_squared import one_minus_p_squared
from lossbench.losses.poly1 import poly1
from lossbench.losses.rankmax import rankmax
from lossbench.losses.rg2 import rg2
from lossbench.losses.sparsemax import sparsemax, sparsemax_probabilities
from lossbench.losses.spherical import spherical
from lossbench.losses.squared import squared
from lossbench.losses.taylor_softmax import taylor_softmax
from lossbench.losses.weston_watkins import weston_watkins
from lossbench.losses.weston_watkins_squared import weston_watkins_squared

__all__ = [
    "asymmetric",
    "brier",
    "crammer_singer",
    "entmax",
    "entmax_probabilities",
    "focal",
    "gce",
    "label_smoothing",
    "ldam",
    "logit_adjusted",
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
    "weston_watkins",
    "weston_watkins_squared",
]
