"""Writes docs/losses.md, the properties of every loss, from what the losses state: python tools/write_losses.py."""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from lossbench.config.properties import FLAGS, Properties
from lossbench.config.registry import LOSSES, LossFacts
from lossbench.properties.facts import METHODS, TESTS, link_of, written

PATH = Path(__file__).parents[1] / "docs" / "losses.md"
HEAD = """\
<!-- written by tools/write_losses.py -->

# Losses

What each loss is, as a function of the logits z, with its default options. `lossbench losses --json` has the same in
machine-readable form. eta is the posterior, the probability of each class given the input; a minimiser is one of the
expected loss sum_k eta_k loss(z, k).

- **map**: from logits to probabilities, inside the loss. `softmax`; `sigmoid`, one classifier a class; `shifted`, the
  sigmoid of z - log(K - 1); `own`, as the entry below says.
- **link**: the map that gives the posterior at the minimiser. Where it is the loss's own, runs are scored by it first
  (`scores.own` in their records), and by softmax as well.
- **convex**: in the logits. **Proper**: strictly, the map gives the posterior at every minimiser; without a map, no.
- **Recoverable**: the minimiser determines the posterior, by whatever link.
- **Top-1**: every minimiser has its largest logit, alone, at the most likely class. **Order**: its logits are in the
  strict order of the posterior, which ranking metrics need.
- **Hessian**: bound on the absolute eigenvalues of a sample's Hessian; none if the gradient jumps. **Gradient**: bound
  on the norm of a sample's gradient; none if it grows with the logits. Both for the logits of one sample, K classes.
- **Margin**: how far z_y must exceed all other logits for a gradient of exactly 0.
- **Sparse**: the link gives exact zeros. **Symmetric**: the sum over targets is constant. **Batch**: the loss depends
  on the batch. **Cost**: operations a sample.
"""
HEADINGS = (
    *("loss", "map", "link", "convex", "proper", "recoverable", "top-1", "order"),
    *("Hessian", "gradient", "margin", "sparse", "symmetric", "batch", "cost"),
)
PLACES = """\
Bounds with decimals are the largest value found, rounded up. Of the losses that use class sizes (`ldam`,
`logit_adjusted`) the values are those for unequal sizes, and top-1 and order those of the posterior given the input,
not of the class-balanced one; with equal sizes both are "yes". The prediction is argmax z, the class of the largest
logit; where it is another class, or not meant to be the most likely one, the entry says so. Maps and links do not take
out `loss.class_weights`: with them they give the posterior of classes weighted so.
"""


OUTPUT_LAYER = """\
For many classes: functions of the features, the output layer and the target, which do not compute the logits of all
classes. Classes are drawn anew for each batch from a proposal q (`loss.proposal`); m is `loss.num_sampled`. What the
minimisers are is enumerated in `tests/test_sampled_losses.py`.

- `sampled_softmax` subtracts log(m q) from the logits. With `correction=both` and `hits=keep` the softmax at the
  minimiser is the posterior for every m and q, though the gradient is a biased estimate of the full softmax's;
  `correction=sampled` has another minimiser, `correction=none` has the posterior divided by q.
- `nce` has z_k = log eta_k at its minimiser. `nce` with `correction=false` is negative sampling, that is binary
  cross-entropy (BCE) with sampled negatives: its minimiser is log(eta_k / (m q_k)), whose order is another.
- `sampled_lgl` is an unbiased estimate of `lgl` with `reduction=sum_classes`, in value and gradient.
- `replacement=false` draws m different classes, m <= K. The probability that a class is drawn, given when the other
  classes arrive (Cohen and Kaplan 2007), takes the place of m q. `sampled_lgl` stays unbiased and `nce` keeps its
  minimiser; the softmax at the minimiser of `sampled_softmax` is only near the posterior (`tests/test_draws.py`).
- `adaptive_softmax` is a likelihood with an output layer of its own; `full_softmax` is `sml` in parts.
- Options, with their defaults first: `num_sampled` m = 100, >= 1; `proposal` `unigram` (class sizes to the power
  `power`, 1, in [0, 2]), `uniform`, `log_uniform` (Zipf's, for classes in the order of frequency) or `in_batch` (the
  classes of the batch's other samples, so that m is the batch size less one); `replacement` true or false; `hits`,
  sampled classes that are a sample's own, `keep` or `mask`; `correction` of `sampled_softmax` `both`, `sampled` (not
  the target's logit) or `none`, of `nce` true or false. `cutoffs` of `adaptive_softmax` are the rising fractions of the
  classes at which clusters begin, `shrink` is the factor by which each cluster has fewer features.
- `rg2_features` is `rg2` of all classes, exact, from the Gram matrix of the output layer: O(K F^2 + B F^2) operations
  for F features, and no array is [B, K].
"""


def page() -> str:
    """The whole of docs/losses.md."""
    own = {name: facts for name, facts in LOSSES.items() if LOSSES.source(name) is None}
    of_logits = {name: facts for name, facts in own.items() if facts.options.needs == "logits"}
    rows = [_row(name, facts) for name, facts in of_logits.items()]
    table = "\n".join(["| " + " | ".join(row) + " |" for row in (HEADINGS, ("---",) * len(HEADINGS), *rows)])
    entries = "\n\n".join(_entry(name, facts) for name, facts in of_logits.items())
    of_features = [
        (f"`{name}`", " ".join((facts.options.__doc__ or "").split()), ", ".join(_options(facts)))
        for name, facts in own.items()
        if name not in of_logits
    ]
    heads = ("loss", "what it is", "options")
    large = "\n".join("| " + " | ".join(row) + " |" for row in (heads, ("---",) * len(heads), *of_features))
    tests = "\n".join(_wrapped(f"- {name.replace('_', ' ')}: {method}.") for name, method in METHODS.items())
    tested = _wrapped(
        f"Every value in the table is computed in `{TESTS}` from the loss as a function, for K = 4 and, in the long "
        "tests, 3 and 5, bounds also for 2 and 10, with float64 and fixed seeds, and must agree. A no is a "
        "counterexample found; a yes is none found among the points tried, so it is evidence, not a proof. The numbers "
        "in the entries are those of `tests/test_properties_worlds.py`. `lossbench.properties.estimate.estimate` does "
        "the same for any function of logits and target."
    )
    parts = (
        HEAD,
        table,
        _wrapped(PLACES.replace("\n", " ")),
        "## Losses with an output layer",
        OUTPUT_LAYER,
        large,
        "## How it is known",
        tested,
        tests,
        "## Entries",
        entries,
    )
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _row(name: str, facts: LossFacts) -> Sequence[str]:
    known = facts.properties
    assert known is not None, f"{name} states no properties"
    flags = [written(getattr(known, flag)) for flag in FLAGS]
    bounds = [_formula(bound) for bound in (known.smoothness, known.gradient_bound)]
    others = [written(value) for value in (known.margin, known.sparse, known.symmetric, known.batch_dependent)]
    return (f"[{name}](#{name})", written(known.map), written(link_of(facts)), *flags, *bounds, *others, known.cost)


def _options(facts: LossFacts) -> list[str]:
    """The options that a loss adds to those of all losses."""
    return [f"`{one.name}`" for one in fields(facts.options) if one.name not in {"name", "scale", "class_weights"}]


def _formula(formula: str | None) -> str:
    """A bound as tables write it, such as 2 sqrt(K)."""
    return "-" if formula is None else re.sub(r" \* ", " ", formula)


def _entry(name: str, facts: LossFacts) -> str:
    known = facts.properties
    assert known is not None
    link = link_of(facts)
    maps = f"Map: {known.map or 'none'}; link: {link or 'none'}."
    said = [maps, *known.notes, f"Source: {known.source}."]
    if known.predicts != Properties().predicts:
        said.insert(1, f"Prediction: {known.predicts}.")
    said += [f"{key.replace('_', ' ').capitalize()}: {text}." for key, text in known.otherwise.items()]
    return f"### {name}\n\n{_wrapped(f'{facts.label}. ' + ' '.join(said))}"


def _wrapped(text: str) -> str:
    indent = "  " if text.startswith("- ") else ""
    return textwrap.fill(text, 120, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)


if __name__ == "__main__":
    PATH.write_text(page())
    print(f"{PATH.name}: {len(LOSSES)} losses")
