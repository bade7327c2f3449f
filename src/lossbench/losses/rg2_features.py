"""RG2 computed from features and output layer, without the logits of all classes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import TrainingClasses, require
from lossbench.config.registry import register_loss
from lossbench.losses.averaging import batch_mean
from lossbench.losses.rg2 import PROPERTIES, Rg2

if TYPE_CHECKING:
    from torch import Tensor


@register_loss(label="RG2 from features", style=28, properties=PROPERTIES)
@dataclass
class Rg2Features(Rg2):
    """RG2 of all classes from features and the Gram matrix of the output layer, exact."""

    name: str = "rg2_features"

    needs = "features"

    def num_columns(self, num_classes: int, num_features: int, batch_size: int) -> float:
        """Classes whose logits cost as much as the Gram matrix, K F^2 in place of B K F operations."""
        return min(num_classes * num_features / batch_size, num_classes)

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of features, output layer and target."""
        return lambda features, head, target: rg2_features(
            features, head, target, a=self.a, class_weights=classes.weights
        )


def rg2_features(
    features: "Tensor", head: Any, target: "Tensor", *, a: float = 0.0, class_weights: "Tensor | None" = None
) -> "Tensor":
    """RG2 of all K classes, the same as `rg2` of their logits, with O(K F^2 + B F^2) operations in place of O(B K F).

    With h the features, followed by 1, and V the weights of the output layer beside its biases plus 1, z_j + 1 is the
    product of h with the j-th row of V, and the sum over all classes of (z_j + 1)^2 is h^T (V^T V) h. The Gram matrix
    V^T V, [F + 1, F + 1], holds the sum of the weights too; no array is [B, K].

    Args:
        features: [B, F].
        head: the output layer, with weight [K, F] and bias [K] or None.
        target: int64 [B].
        a: weight of a further square of the target's logit, >= 0.
        class_weights: factor on the loss of a sample by its class, [K]; None: all 1.

    Returns:
        Scalar loss, without unit: the mean over the batch of each sample's loss times the weight of its class.

    Raises:
        ValueError: a is not >= 0 and finite.
    """
    import torch
    import torch.nn.functional as F

    require(0 <= a < float("inf"), "a", ">= 0 and finite", a)
    weight, num_classes = head.weight, len(head.weight)
    raised = weight.new_ones(num_classes) if head.bias is None else head.bias + 1
    rows = torch.cat([weight, raised[:, None]], dim=1)  # [K, F + 1]
    longer = torch.cat([features, features.new_ones(len(features), 1)], dim=1)  # [B, F + 1]
    every = ((longer @ (rows.T @ rows)) * longer).sum(dim=1)  # sum over j of (z_j + 1)^2, [B]
    own = (longer * F.embedding(target, rows)).sum(dim=1) - 1  # z_y
    centre = (2 * num_classes * a + num_classes - 1) / (2 * num_classes * a + 1)
    # (z_y - c)^2 - (z_y + 1)^2 + 2 K a (z_y - c)^2, the first two as a product: squares of size K^2 would cancel
    others = (centre + 1) * (centre - 1 - 2 * own) + 2 * num_classes * a * (own - centre).square()
    return batch_mean((every + others) / (4 * num_classes), target, class_weights)
