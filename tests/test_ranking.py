"""Ranks of the true class, NDCG, MRR and top-k accuracy, with ties at their mean rank."""

import math
from itertools import permutations

import numpy as np
import pytest

from lossbench.losses.brier import Brier
from lossbench.losses.sml import Sml
from lossbench.losses.sparsemax import Sparsemax
from lossbench.statistics import ranking
from lossbench.statistics.ranking import mid_ranks, mrr, ndcg, ranked, top

TIED = np.array([[2, 2, 0, 0, 0], [2, 2, 0, 0, 0], [1, 1, 1, 1, 1], [5, 4, 3, 2, 1], [5, 4, 4, 4, 1]], float)
CLASSES = np.array([1, 3, 0, 4, 2])


def test_tied_classes_share_the_mean_of_their_ranks() -> None:
    assert mid_ranks(TIED, CLASSES).tolist() == [1.5, 4.0, 3.0, 5.0, 3.0]
    of_float16 = np.array([[2048.0, 2048.4, 0]])
    assert mid_ranks(of_float16, np.array([0])).tolist() == [2.0]
    assert mid_ranks(of_float16.astype(np.float16), np.array([0])).tolist() == [1.5]


def test_a_mid_rank_is_the_mean_over_all_orders_of_the_tied() -> None:
    """Breaking ties in every order, by an independent count."""
    for row, label in zip(TIED, CLASSES, strict=True):
        orders = list(permutations(range(5)))
        found = [sorted(range(5), key=lambda k: (-row[k], order[k])).index(label) + 1 for order in orders]
        assert mid_ranks(row[None], np.array([label]))[0] == pytest.approx(np.mean(found))


def test_numbers_by_hand() -> None:
    found = ranking.ranking(TIED, CLASSES)
    assert found == pytest.approx(
        {
            "ndcg": (1 / math.log2(2.5) + 1 / math.log2(5) + 1 / 2 + 1 / math.log2(6) + 1 / 2) / 5,
            "mrr": (1 / 1.5 + 1 / 4 + 1 / 3 + 1 / 5 + 1 / 3) / 5,
            "top2": 1 / 5,
            "top3": 3 / 5,
            "ties": 4 / 5,
        }
    )
    assert top(mid_ranks(TIED, CLASSES), 1) == 0.0  # a shared first place is none


def test_untied_numbers_agree_with_scikit_learn() -> None:
    from sklearn.metrics import label_ranking_average_precision_score, ndcg_score, top_k_accuracy_score

    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(400, 10)), rng.integers(10, size=400)
    one_hot, ranks = np.eye(10)[labels], mid_ranks(logits, labels)
    assert ndcg(ranks) == pytest.approx(ndcg_score(one_hot, logits), abs=1e-12)
    assert mrr(ranks) == pytest.approx(label_ranking_average_precision_score(one_hot, logits), abs=1e-12)
    for k in (1, 2, 3, 5):
        assert top(ranks, k) == pytest.approx(top_k_accuracy_score(labels, logits, k=k), abs=1e-12)
    assert top(ranks, 1) == (logits.argmax(axis=1) == labels).mean()


def test_scikit_learn_averages_gains_over_ties_and_is_higher() -> None:
    from sklearn.metrics import ndcg_score

    five_equal = np.ones((1, 5))
    gains = np.mean([1 / math.log2(1 + r) for r in range(1, 6)])
    assert ndcg_score(np.eye(5)[[0]], five_equal) == pytest.approx(gains)  # 0.59
    assert ndcg(mid_ranks(five_equal, np.array([0]))) == pytest.approx(0.5)
    assert gains > 0.58


def test_ranks_do_not_depend_on_the_numbering_of_the_classes() -> None:
    order = np.array([3, 1, 4, 0, 2])
    moved = np.argsort(order)[CLASSES]
    assert (mid_ranks(TIED[:, order], moved) == mid_ranks(TIED, CLASSES)).all()


def test_positive_classes_are_counted_through_the_losss_own_map() -> None:
    logits = np.array([[3, 0, 0], [0.4, 0.3, -2], [0.1, 0.0, 0.05]], np.float16)
    labels = np.array([0, 0, 0])
    assert ranked(logits, labels, Sparsemax())["positive_classes"] == pytest.approx((1 + 2 + 3) / 3)
    assert set(ranked(logits, labels, Sml())) == {"ranking"}
    assert set(ranked(logits, labels, "a loss of a plugin")) == {"ranking"}
    assert ranked(logits, labels, Brier()).get("positive_classes", 3.0) == 3.0


def test_two_classes_have_no_top_two() -> None:
    assert set(ranking.ranking(np.array([[1.0, 0.0]]), np.array([0]))) == {"ndcg", "mrr", "ties"}
