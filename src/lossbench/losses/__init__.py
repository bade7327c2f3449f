"""Losses: one file each, with options and a pure function of logits and target."""

from lossbench.losses.asymmetric import asymmetric
from lossbench.losses.crammer_singer import crammer_singer
from lossbench.losses.focal import focal
from lossbench.losses.ldam import ldam
from lossbench.losses.logit_adjusted import logit_adjusted
from lossbench.losses.weston_watkins import weston_watkins
from lossbench.losses.weston_watkins_squared import weston_watkins_squared

__all__ = [
    "asymmetric",
    "crammer_singer",
    "focal",
    "ldam",
    "logit_adjusted",
    "weston_watkins",
    "weston_watkins_squared",
]
