"""The list of the paper's claims: every line is whole, and names cells, conditions and families that there are."""

import re
from functools import cache

import pytest

from lossbench.losses.lgl_inr import LglInr
from lossbench.studies.aaai20 import paper
from lossbench.studies.aaai20.claims import read_claim
from lossbench.studies.aaai20.conditions import MARGINS
from lossbench.studies.aaai20.grid import LITERAL_HEAD, TABLES, cells
from lossbench.studies.cells import Cell

KINDS = {"equivalence", "non-inferiority", "superiority", "proportion", "convergence", "descriptive"}
CONDITIONS = {  # networks, data sets
    "paper": (("CNN2C", "CNN5C", "MobileNetV2", "ResNet-18"), ("MNIST", "FMNIST", "KMNIST", "CIFAR-10")),
    "literal": ((LITERAL_HEAD,), ("MNIST", "FMNIST", "KMNIST")),
    "scale-up": (("CNN2C",), ("FMNIST", "KMNIST")),
    "scale-down": (("CNN2C",), ("FMNIST", "KMNIST")),
    "own-lr": (("CNN2C",), ("FMNIST", "KMNIST")),
    "simulation": ((), ()),
}
CLAIMS = paper.lines("claims.csv")


def parts(text: str) -> list[str]:
    return text.split("; ") if text else []


def network(cell: Cell) -> str:
    return {3: cell.rows[0], 4: cell.column, 5: "CNN2C"}[cell.table]


@cache
def places() -> list[tuple[str, str, str, set[str]]]:
    """Table, network and data set of every cell, and the names a contrast may call it by."""
    found = []
    for cell in (cell for table in TABLES for cell in cells(table, "paper")):
        loss = cell.config.loss
        names = {cell.loss, network(cell)} | ({f"beta {loss.beta:g}"} if isinstance(loss, LglInr) else set())
        found.append((str(cell.table), network(cell), cell.dataset, names))
    return found


def chosen(claim: dict[str, str], side: str) -> list[tuple[str, str]]:
    """Networks and data sets of the cells that one side of a contrast names."""
    tables, networks, datasets = (parts(claim[key]) for key in ("tables", "networks", "datasets"))
    return [
        (net, data)
        for table, net, data, names in places()
        if table in tables and net in networks and data in datasets and side in names
    ]


def test_claims_are_whole() -> None:
    assert len({claim["id"] for claim in CLAIMS}) == len(CLAIMS) > 30
    for claim in CLAIMS:
        assert None not in claim, "too many columns"
        assert None not in claim.values(), "too few columns"
        assert claim["kind"] in KINDS
        assert claim["condition"] in CONDITIONS
        assert all(claim[key] for key in ("id", "place", "claim", "contrast", "statistic", "rule"))
        assert not any(value != value.strip() for value in claim.values())
    assert {claim["kind"] for claim in CLAIMS} == KINDS
    assert {claim["condition"] for claim in CLAIMS} == set(CONDITIONS)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim["id"])
def test_a_claims_cells_are_cells_of_its_arm(claim: dict[str, str]) -> None:
    tables, networks, datasets = (parts(claim[key]) for key in ("tables", "networks", "datasets"))
    assert set(networks) <= set(CONDITIONS[claim["condition"]][0])
    assert set(datasets) <= set(CONDITIONS[claim["condition"]][1])
    if claim["condition"] == "simulation":
        assert not tables
        return
    sides = [contrast.split(" - ") for contrast in parts(claim["contrast"])]
    found = {(net, data) for pair_ in sides for side in pair_ for net, data in chosen(claim, side)}
    assert all(chosen(claim, side) for pair_ in sides for side in pair_)
    assert {net for net, _ in found} == set(networks)
    assert {data for _, data in found} == set(datasets)
    for first, second in (pair_ for pair_ in sides if len(pair_) == 2):
        places_of = [set(chosen(claim, side)) for side in (first, second)]
        if "CNN2C" in (first, second) or "MobileNetV2" in (first, second):
            places_of = [{("", data) for _, data in places_} for places_ in places_of]
        assert places_of[0] == places_of[1], "both sides have the same cells"


@pytest.mark.parametrize(
    "claim", [claim for claim in CLAIMS if re.search(r"all \d+ (cells|pairs)|both", claim["rule"] or "")]
)
def test_a_rule_knows_how_many_cells_there_are(claim: dict[str, str]) -> None:
    said = re.search(r"all (\d+) |both ", claim["rule"])
    assert said
    over_networks = claim["family"].endswith("larger - smaller")  # for every loss of its own
    firsts = [contrast.split(" - ")[0] for contrast in parts(claim["contrast"])]
    counts = [len(chosen(claim, side)) if over_networks else len(set(chosen(claim, side))) for side in firsts]
    assert sum(counts) == int(said[1] or 2)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim["id"])
def test_a_claims_family_is_its_own_contrast_in_its_own_arm(claim: dict[str, str]) -> None:
    families = [family.split("/") for family in parts(claim["family"])]
    larger = claim["contrast"] in ("CNN5C - CNN2C", "ResNet-18 - MobileNetV2")
    contrasts = ["larger - smaller"] if larger else parts(claim["contrast"])
    assert all(condition == claim["condition"] for condition, *_ in families)
    assert not families or [contrast for _, contrast, *_ in families] == contrasts
    assert all(rest == (["curves"] if claim["kind"] == "convergence" else []) for _, _, *rest in families)
    tested = claim["kind"] == "convergence" or (
        claim["kind"] == "superiority" and "of each seed" not in claim["statistic"]
    )
    assert bool(families) == tested


@pytest.mark.parametrize("field", ["networks", "datasets", "contrast", "family"])
def test_a_claim_of_something_unknown_is_named(field: str) -> None:
    line = next(claim for claim in CLAIMS if claim["condition"] == "own-lr") | {field: "CNN3C"}
    with pytest.raises(ValueError, match=rf"the claim {line['id']} of claims.csv cannot be read: .*'CNN3C'"):
        read_claim(line)


def test_claims_use_the_margins_of_the_rules() -> None:
    assert dict(MARGINS) == {"mnist": 0.001, "fmnist": 0.0025, "kmnist": 0.0025, "cifar10": 0.0025}
    for claim in CLAIMS:
        known = "0.10 MNIST; 0.25 elsewhere" if "MNIST" in parts(claim["datasets"]) else "0.25"
        with_margin = claim["kind"] in ("equivalence", "non-inferiority") or "equivalent" in claim["rule"]
        if claim["condition"] == "simulation":
            known = "5 % of the right-hand side"
        assert claim["margin"] == (known if with_margin else "")


def test_claims_cover_every_printed_number() -> None:
    tables = {
        table for claim in CLAIMS if claim["id"] in ("table-3", "table-4", "table-5") for table in claim["tables"]
    }
    assert tables == {"3", "4", "5"}
    counted = {place for claim in CLAIMS[:3] for side in parts(claim["contrast"]) for place in chosen(claim, side)}
    assert len(counted) == 6 + 2
    assert sum(len(chosen(claim, side)) for claim in CLAIMS[:3] for side in parts(claim["contrast"])) == 18 + 6 + 3
