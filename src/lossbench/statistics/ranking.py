"""Where a trained network ranks the true class among all classes, and how many classes it gives a probability at all.

The rank r of the true class counts from 1, by logit; classes with equal logits share the mean of their ranks
(mid-rank), so that the order in which classes are numbered plays no part. With a single relevant class per image,

    NDCG     1 / log2(1 + r), as the ideal ranking has the gain 1
    MRR      1 / r
    top k    whether r <= k; two classes that share the highest logit have r = 1.5, and are not in the top 1

scikit-learn's `ndcg_score` has another rule: it gives every tied class the mean of the gains of their ranks. Its value
is a little higher on ties, and the same without them.

Ranks are computed from logits as runs keep them, in half precision, so that a record's numbers can be computed again
from its arrays. Rounding never swaps two logits; it can only make them equal. On the 155 committed runs that kept
logits on 2026-11-30 (SML, LGL, LGL-INR on MNIST, Fashion-MNIST and KMNIST, 6,000 or 10,000 images), the true class was
tied with another in at most 17 images of a run, and NDCG with all ties resolved for it is at most 0.0004 above NDCG
with all resolved against it (SML on Fashion-MNIST: 0.0001 in the mean). Mid-rank lies between.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossbench.config.options import LossConfig

TOP = (2, 3, 5)
"""The k of the top-k accuracies that a record keeps, beside the accuracy itself."""


def mid_ranks(logits: np.ndarray, labels: np.ndarray) -> NDArray[np.float64]:
    """The rank of each image's true class, from 1; tied classes share the mean of their ranks.

    Args:
        logits: finite, [N, K]; equal if exactly equal in their own precision.
        labels: classes in 0..K-1, integers [N].

    Returns:
        Ranks [N], multiples of 1/2.
    """
    own = logits[np.arange(len(labels)), labels][:, None]
    above, equal = (logits > own).sum(axis=1), (logits == own).sum(axis=1)
    ranks: NDArray[np.float64] = above + (equal + 1) / 2
    return ranks


def ndcg(ranks: np.ndarray) -> float:
    """Mean normalised discounted cumulative gain of the true class, from its ranks [N], N >= 1."""
    return float((1 / np.log2(1 + ranks)).mean())


def mrr(ranks: np.ndarray) -> float:
    """Mean reciprocal rank of the true class, from its ranks [N], N >= 1."""
    return float((1 / ranks).mean())


def top(ranks: np.ndarray, k: int) -> float:
    """Share of images whose true class has a rank of at most k, from the ranks [N], N >= 1."""
    return float((ranks <= k).mean())


def ranking(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The numbers of a record's field `ranking`.

    Args:
        logits: finite, [N, K], N >= 1.
        labels: classes in 0..K-1, integers [N].

    Returns:
        `ndcg`, `mrr`, `top2`, `top3`, `top5` (those below K), and `ties`, the share of images whose true class has the
        same logit as another; all in 0..1.
    """
    ranks = mid_ranks(logits, labels)
    own = logits[np.arange(len(labels)), labels][:, None]
    tops = {f"top{k}": top(ranks, k) for k in TOP if k < logits.shape[1]}
    tied = float(((logits == own).sum(axis=1) > 1).mean())
    return {"ndcg": ndcg(ranks), "mrr": mrr(ranks), **tops, "ties": tied}


def ranked(
    logits: np.ndarray, labels: np.ndarray, loss: LossConfig | str, class_counts: np.ndarray | None = None
) -> dict[str, Any]:
    """The fields of a record about the order of a run's logits and the zeros of its probabilities.

    Args:
        logits: finite, [N, K], as in `arrays.npz` (half precision).
        labels: classes in 0..K-1, integers [N].
        loss: the loss's options; its name alone leaves out its own map.
        class_counts: training samples of each class, [K], which some losses' own maps need; None: not known.

    Returns:
        `ranking`; of a loss with a map of its own also `positive_classes`, the mean number of classes to which it gives
        a positive probability.
    """
    from lossbench.statistics.calibration import own_map  # not before: it imports scipy

    found: dict[str, Any] = {"ranking": ranking(logits, labels)}
    own = own_map(loss, logits.shape[1], class_counts) if isinstance(loss, LossConfig) else None
    if own is not None:
        found["positive_classes"] = float((own(np.asarray(logits, np.float64)) > 0).sum(axis=1).mean())
    return found
