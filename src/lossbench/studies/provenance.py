"""What runs were done on, and what is still to do, for any study's page."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from lossbench.config.run import Config
from lossbench.report.blocks import Block, Items, Paragraph, Picture, Table
from lossbench.report.table import table
from lossbench.report.wording import (
    enumerated,
    plain,
    short_commit,
)
from lossbench.studies.results import Results


def provenance(results: Results, names: Iterable[str]) -> list[Block]:
    """What the runs of the report were done on."""
    lines: dict[tuple[str, ...], list[float]] = {}
    for name in names:
        one = results.records[name].fields
        place = (
            plain(one["device_name"]),
            plain(one["precision"]),
            plain(one["versions"]["torch"]),
            short_commit(one["commit"]),
        )
        lines.setdefault(place, []).append(float(one.get("wall_s", math.nan)))
    if not lines:
        return [Paragraph("No runs yet.")]
    texts = {
        key: {"Runs": str(len(values)), "Hours": f"{np.nansum(values) / 3600:.1f}"} for key, values in lines.items()
    }
    caption = "What the runs in this report were done on."
    if len({device for device, *_ in lines}) > 1:
        caption += (
            " Some comparisons are of runs on different processors. These round differently, and training magnifies "
            "the difference. Two such runs with the same seed share only the initial weights and the order of images, "
            "as runs of two losses do."
        )
    return [table(texts, ["Device", "Precision", "torch", "Commit"], caption)]


def trained_on(results: Results, names: Iterable[str]) -> str:
    """What the runs of the report have in common or not, for captions."""
    found = [results.records[name].fields for name in sorted(names)]
    if not found:
        return ""
    by_device: dict[str, set[str]] = {}
    for one in found:
        by_device.setdefault(plain(one["device"]), set()).add(plain(one["precision"]))
    kinds = [f"{enumerated(sorted(precisions))} on {device}" for device, precisions in sorted(by_device.items())]
    torches = {plain(one["versions"]["torch"]) for one in found}
    return f"Runs in {enumerated(kinds)}, torch {enumerated(sorted(torches))}."


def captioned(block: Block, text: str) -> Block:
    """A table or picture with a text after its caption; other blocks as they are."""
    if not isinstance(block, (Table, Picture)):
        return block
    return replace(block, caption=f"{block.caption} {text}".strip())


def progress(results: Results, blocks: Iterable[tuple[str, Sequence[Config]]]) -> list[tuple[str, int, int, int]]:
    """The planned blocks of runs: name, finished, diverged, planned; a run of two blocks counts in the first."""
    found: list[tuple[str, int, int, int]] = []
    seen: set[str] = set()
    for name, configs in blocks:
        names = {results.name(config) for config in configs} - seen
        if configs and not names:
            continue
        seen |= names
        done = sum(name in results.records for name in names)
        found.append((name, done, sum(name in results.diverged for name in names), len(names)))
    return found


def missing(plan: Iterable[tuple[str, int, int, int]], problems: Sequence[str]) -> list[Block]:
    """How much of the plan is done, what is left, and which runs are in no table."""
    lines = {
        name: {
            "Finished": str(done),
            "Diverged": str(failed),
            "Planned": str(planned) if planned else "follows from the curves",
        }
        for name, done, failed, planned in plan
    }
    caption = (
        "The runs that docs/statistics.md plans. The command lossbench reference does what is missing in this order; "
        "without a GPU it begins with CNN2C at the paper's learning rate."
    )
    found: list[Block] = [table(lines, ["Runs"], caption)]
    return [*found, Items(problems)] if problems else found
