"""Losses: one file each, with options and a pure function of logits and target."""

from lossbench.losses.brier import brier
from lossbench.losses.gce import gce
from lossbench.losses.label_smoothing import label_smoothing
from lossbench.losses.mae import mae
from lossbench.losses.one_minus_p_squared import one_minus_p_squared
from lossbench.losses.poly1 import poly1
from lossbench.losses.spherical import spherical

__all__ = ["brier", "gce", "label_smoothing", "mae", "one_minus_p_squared", "poly1", "spherical"]
