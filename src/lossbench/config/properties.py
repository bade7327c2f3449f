"""What a loss says of itself: its mathematical properties with the default options."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

FLAGS = ("convex", "strictly_proper", "recoverable", "top1_consistent", "order_preserving")
"""The properties that are true, false or unknown, in the order of tables."""

BOUNDS = ("smoothness", "gradient_bound")
"""The properties that are formulas in the number of classes K."""


@dataclass(frozen=True)
class Properties:
    """Properties of a loss with its default options; None: not known, or there is none.

    Args:
        convex: in the logits.
        strictly_proper: `map` gives the posterior at every minimiser of the expected loss; false without a map.
        recoverable: the minimiser of the expected loss determines the posterior, by whatever map.
        top1_consistent: every minimiser has its largest logit, alone, at the most likely class.
        order_preserving: every minimiser's logits are in the strict order of the posterior.
        smoothness: bound on the absolute eigenvalues of a sample's Hessian, a formula in K such as "1 / (4 * K)"; None:
            there is none.
        gradient_bound: bound on the norm of a sample's gradient, likewise.
        margin: how far z_y must exceed all other logits for a gradient of 0; None: it never is.
        sparse: its own map gives exact zeros.
        symmetric: a sample's loss summed over all targets is constant.
        batch_dependent: the loss of a batch is no mean over its samples.
        cost: operations a sample, with K classes.
        map: the map from logits to probabilities inside the loss, as in `LossFacts`; None: there is none.
        predicts: what the largest logit is, where it is not the most likely class.
        source: where the loss is from.
        notes: further facts, a sentence each.
        otherwise: how a property is established, by its name, where not by the general test: "tested: ..." or "cited:
            ..." with the publication.
    """

    convex: bool | None = None
    strictly_proper: bool | None = None
    recoverable: bool | None = None
    top1_consistent: bool | None = None
    order_preserving: bool | None = None
    smoothness: str | None = None
    gradient_bound: str | None = None
    margin: float | None = None
    sparse: bool | None = False
    symmetric: bool | None = False
    batch_dependent: bool | None = False
    cost: str = "O(K)"
    map: str | None = "softmax"
    predicts: str = "argmax z"
    source: str = ""
    notes: tuple[str, ...] = ()
    otherwise: Mapping[str, str] = field(default_factory=dict)

    def bound(self, name: str, num_classes: int) -> float | None:
        """A bound for K classes; None: there is none.

        Args:
            name: of `BOUNDS`.
            num_classes: K.
        """
        formula: str | None = getattr(self, name)
        if formula is None:
            return None
        return float(eval(formula, {"__builtins__": {}}, {"K": num_classes, "sqrt": math.sqrt}))
