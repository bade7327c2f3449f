"""What is stated of each registered loss, and how each statement is established: for the command line and the page."""

from typing import Any

from lossbench.config.properties import BOUNDS, FLAGS, Properties
from lossbench.config.registry import LossFacts

TESTS = "tests/test_properties.py"

METHODS = {
    "convex": "eigenvalues of sampled Hessians and slopes between sampled logits",
    "strictly_proper": "the map at minimisers of the expected loss of random posteriors, half without a majority class",
    "recoverable": "solving the gradient equations at minimisers for the posterior; with kinks, shared minimisers",
    "top1_consistent": "minimisers from several starts, and the rise of the expected loss by ties",
    "order_preserving": "minimisers from several starts, and the rise of the expected loss by ties of neighbours",
    "smoothness": "the largest eigenvalue of sampled Hessians, after a local search; none where the gradient jumps",
    "gradient_bound": "the largest norm of sampled gradients, after a local search; none if it grows with the logits",
    "margin": "gradients at sampled logits on both sides of it",
    "sparse": "zeros of the map at sampled logits",
    "symmetric": "the sum over targets at sampled logits",
    "batch_dependent": "the loss of sampled batches against the mean over their samples",
}
"""How the value of each property is tested."""

_OF_BATCH = {
    "convex": "eigenvalues of sampled Hessians in all logits of a batch",
    "strictly_proper": "the minimiser over a world of inputs as one batch",
    "top1_consistent": "the minimiser over a world of inputs as one batch",
    "order_preserving": "the minimiser over a world of inputs as one batch",
}


def link_of(facts: LossFacts) -> str | None:
    """The map that turns the logits of a loss's minimiser into the posterior; None: no such map."""
    return None if facts.posterior == "none" else facts.posterior


def stated(facts: LossFacts, plugin: str | None = None) -> dict[str, Any]:
    """The properties of a loss, as JSON has them; all null where it states none.

    Args:
        facts: of the loss.
        plugin: the one it is from; None: it is lossbench's own.

    Returns:
        The fields of `Properties`, `link` (`link_of`) and `established`: by name of a property, "tested:" with the
        method, "cited:" with the publication, or "stated by the plugin".
    """
    known = facts.properties
    if known is None:
        names = (*FLAGS, *BOUNDS, "margin", "sparse", "symmetric", "batch_dependent", "cost", "predicts")
        return {"map": facts.probabilities, "link": link_of(facts), **dict.fromkeys(names), "established": {}}
    return {
        "map": known.map,
        "link": link_of(facts),
        **{name: getattr(known, name) for name in (*FLAGS, *BOUNDS)},
        "margin": known.margin,
        "sparse": known.sparse,
        "symmetric": known.symmetric,
        "batch_dependent": known.batch_dependent,
        "cost": known.cost,
        "predicts": known.predicts,
        "established": established(known, plugin),
    }


def established(known: Properties, plugin: str | None = None) -> dict[str, str]:
    """How each property is established, by its name; those that are not known are left out.

    Args:
        known: the properties.
        plugin: the one that states them; None: lossbench itself, which tests them.
    """
    methods = METHODS | (_OF_BATCH if known.batch_dependent else {})
    found = {}
    for name, method in methods.items():
        if name in known.otherwise:
            found[name] = known.otherwise[name]
        elif getattr(known, name) is None and (known.batch_dependent or name not in (*BOUNDS, "margin")):
            continue
        elif plugin is not None:
            found[name] = f"stated by the plugin {plugin}"
        else:
            found[name] = f"tested: {method} ({TESTS})"
    return found


def written(value: Any) -> str:
    """A property as tables write it: yes, no, a number or formula, and a dash where it is None."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
