"""Adaptive softmax: a likelihood over frequent classes and clusters of rare ones."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, TrainingClasses, require
from lossbench.config.registry import register_loss

if TYPE_CHECKING:
    from torch import Tensor, nn


@register_loss(label="Adaptive softmax")
@dataclass
class AdaptiveSoftmax(LossConfig):
    """Adaptive softmax (Grave et al. 2017) with PyTorch's output layer; the classes are in the order of frequency."""

    name: str = "adaptive_softmax"
    cutoffs: list[float] = field(default_factory=lambda: [0.1, 0.4])  # where clusters begin, fractions of the classes
    shrink: float = 4.0  # each cluster's features are fewer by this factor

    needs = "features"

    def __post_init__(self) -> None:
        super().__post_init__()
        rising = sorted(set(self.cutoffs)) == list(self.cutoffs) and all(0 < cut < 1 for cut in self.cutoffs)
        require(bool(self.cutoffs) and rising, "loss.cutoffs", "rising fractions in (0, 1)", self.cutoffs)
        require(self.shrink >= 1, "loss.shrink", ">= 1", self.shrink)

    def check_classes(self, num_classes: int) -> None:
        """Refuses clusters without classes.

        Raises:
            ValueError: there are too few classes for the clusters.
        """
        self._places(num_classes)

    def num_columns(self, num_classes: int, num_features: int, batch_size: int) -> float:
        """The frequent classes and the clusters; these for few samples, and with fewer features."""
        return self._places(num_classes)[0] + len(self.cutoffs)

    def _places(self, num_classes: int) -> list[int]:
        """The first class of each cluster."""
        places = [max(round(cut * num_classes), 1) for cut in self.cutoffs]
        if sorted(set(places)) != places or places[-1] >= num_classes:
            raise ValueError(
                f"loss.cutoffs must leave classes to each cluster, got {self.cutoffs} for {num_classes} classes"
            )
        return places

    def output_layer(self, num_features: int, num_classes: int) -> "nn.Module":
        """PyTorch's adaptive softmax, which gives log-probabilities [B, K] of features [B, F].

        Raises:
            ValueError: there are too few classes for its clusters, or no feature is left for the last one.
        """
        from torch import Tensor, nn

        places = self._places(num_classes)
        most = num_features ** (1 / len(places))  # each cluster has fewer features by the factor `shrink`
        rule = f"<= {most:.4g} with {num_features} features and {len(places)} clusters"
        require(num_features // self.shrink ** len(places) >= 1, "loss.shrink", rule, self.shrink)

        class Adaptive(nn.AdaptiveLogSoftmaxWithLoss):
            """The layer as a function from features to log-probabilities."""

            def forward(self, features: Tensor) -> Tensor:  # type: ignore[override]
                found: Tensor = self.log_prob(features)
                return found

            def loss(self, features: Tensor, target: Tensor) -> Tensor:
                """Minus the mean log-probability of the targets, without those of all classes."""
                found: Tensor = super().forward(features, target).loss
                return found

        return Adaptive(num_features, num_classes, places, div_value=self.shrink, head_bias=True)

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of features, output layer and target."""

        def loss(features: "Tensor", head: Any, target: "Tensor") -> "Tensor":
            value: Tensor = head.loss(features, target)
            return value

        return loss
