"""Simulation, architectures, theory, errors and provenance in the report, against what they are made from."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from blocks import table, text
from invented import Known

from lossbench.config.run import Runtime
from lossbench.data import labels
from lossbench.report.blocks import Picture, Table
from lossbench.statistics import inference, learning_property
from lossbench.studies import provenance
from lossbench.studies.aaai20 import table1
from lossbench.studies.aaai20.conditions import reference_blocks
from lossbench.studies.aaai20.keys import labelled
from lossbench.studies.aaai20.sections import context
from lossbench.studies.aaai20.verdicts import Judge
from lossbench.studies.provenance import progress

RESULTS = Path(__file__).parents[1] / "results"


def test_table_1_has_both_readings_and_both_ends_of_training() -> None:
    simulations = table1.load(RESULTS, None)
    assert simulations is not None
    blocks = context.table1(simulations)
    frame = table(blocks)
    assert len(frame) == 13
    (cell,) = [c for c in simulations.cells if (c.simulation, c.reading, c.rhs) == ("Sim1", "corrected", 0.5)]
    line = frame.loc["Sim1", "converged", "corrected", "2N1/(2N1+N0)"]
    half = inference.paired_t(inference.Pairs(cell.lhs, 0, 0))
    reach = (half.high - half.mean) * math.sqrt(2)
    assert line["Ours"] == f"{cell.mean:.3f} ({cell.sd:.3f})"
    assert line["Another mean"] == f"{cell.mean - reach:.3f} to {cell.mean + reach:.3f}"
    assert line["Verdict"] == "consistent"
    rounded = frame.loc["Sim2", "stopped", "corrected", "2N1/(2N1+N0)"]
    assert rounded["Another mean"].startswith("0.504 to ") or rounded["Another mean"].startswith("0.505 to ")
    assert (rounded["Paper"], rounded["Verdict"]) == ("0.50 (0.03)", "consistent")  # it may have been 0.505
    assert frame.loc["Sim2", "converged", "corrected", "2N1/(2N1+N0)"]["Verdict"] == "paper lower"
    printed = frame.loc["Sim1", "converged", "printed", "N0/(N0+N1)"]
    assert (printed["Right side"], printed["Verdict"]) == ("100", "paper lower")
    assert "holds with Sim2's network stopped and fails with Sim2's network converged" in text(blocks)
    assert "missing" in text(context.table1(None))


def test_table_2_adds_up() -> None:
    frame = table(context.table2())
    totals = {name: frame.loc[name, "all"]["Parameters"] for name in dict.fromkeys(frame.index.get_level_values(0))}
    assert totals["CNN2C"] == "431,080"
    assert totals["CNN2C (800-10)"] == "33,580"
    assert totals["CNN5C"] == "1,573,834"
    for name, total in totals.items():
        counts = [int(count.replace(",", "")) for count in frame.loc[name]["Parameters"]]
        assert sum(counts[:-1]) == counts[-1] == int(total.replace(",", ""))
    assert "ReLU" not in set(frame["Layer"])


def test_the_learning_property_is_that_of_the_committed_runs(committed: Judge) -> None:
    blocks = context.learning_property(*context.balances(committed))
    frame = table(blocks)
    cell = committed.conditions["paper"][labelled("CNN2C", "KMNIST", "SML")]
    balances = []
    for config in cell.configs:
        record, arrays = committed.results.record(config), committed.results.arrays(config)
        if record is not None and arrays is not None:
            dataset = record.fields["config"]["dataset"]
            counts = labels.train_counts(dataset)
            assert counts is not None
            balances.append(learning_property.balances(record.fields["config"], arrays, counts)["train"])
    ratios = np.concatenate([one.ratio for one in balances])
    line = frame.loc["SML", "KMNIST", "CNN2C", "train"]
    assert line["n"] == str(len(balances))
    assert line["Left / right"] == f"{np.median(ratios):.2f}"
    assert line["Range"] == f"{ratios.min():.2f} to {ratios.max():.2f}"
    assert line["Typical factor"] == f"{np.median(np.maximum(ratios, 1 / ratios)):.2f}"
    (picture,) = [block for block in blocks if isinstance(block, Picture)]
    runs = [int(n) for (loss, *_, split), n in frame["n"].items() if (loss, split) == ("SML", "train")]
    assert sum(runs) >= 15  # CNN2C on three data sets, five seeds each
    assert f"SML, train: n={10 * len(runs)}," in picture.alt  # classes, means over runs
    assert picture.data is not None
    drawn = picture.data.query("cell == 'CNN2C KMNIST' and loss == 'SML' and split == 'train'")
    assert drawn["class"].tolist()[:2] == ["o", "ki"]
    assert drawn["n"].tolist() == [len(balances)] * 10
    means = np.exp(np.log(np.array([one.ratio for one in balances])).mean(axis=0))
    shown = (drawn["left_hand_side"] / drawn["right_hand_side"]).to_numpy()
    assert shown == pytest.approx(means, rel=1e-3)
    assert "No runs" in text(context.learning_property({}, []))


def test_the_papers_errors_come_with_numbers_or_say_that_they_are_missing(committed: Judge) -> None:
    simulations = table1.load(RESULTS, None)
    frame = table(context.audit(context.balances(committed)[0], simulations))
    said = " ".join(frame["Evidence"])
    assert len(frame) == 15
    assert "missing" not in said
    assert "{" not in said
    assert "printed: LGL 99.15, SML 99.09" in said
    assert "512 features before the last layer, 1,573,834 parameters" in said
    assert "LGL-INR's gradient is 4.21 times SML's and 5.94 times LGL's" in said
    without = " ".join(table(context.audit({}, None))["Evidence"])
    assert "missing and missing" in without
    assert "printed: MobileNetV2 92.40, ResNet-18 91.55" in without


def test_what_it_ran_on_and_what_is_missing_are_counted(cnn2c: Known) -> None:
    def record(hours: float, **changes: Any) -> Any:
        fields = {
            "device_name": "Some GPU",
            "precision": "fp32",
            "versions": {"torch": "9.8.7"},
            "commit": "0123456789abcdef-dirty",
            "wall_s": 3600 * hours,
        }
        return SimpleNamespace(fields=fields | changes)

    records = {"a": record(1), "b": record(0.5), "c": record(2, precision="bf16"), "d": record(9, device_name="Other")}
    held: Any = SimpleNamespace(records=records)
    frame = table(provenance.provenance(held, ["a", "b", "c"]))
    assert [tuple(line) for line in frame.itertuples()] == [
        (("Some GPU", "fp32", "9.8.7", "0123456789-dirty"), "2", "1.5"),
        (("Some GPU", "bf16", "9.8.7", "0123456789-dirty"), "1", "2.0"),
    ]
    assert "No runs" in text(provenance.provenance(held, []))
    one, two = (provenance.provenance(held, names)[0] for names in ("abc", "abcd"))
    assert isinstance(one, Table)
    assert isinstance(two, Table)
    assert "different processors" in two.caption.removeprefix(one.caption)
    done = progress(cnn2c, reference_blocks(False, Runtime(), cnn2c.accuracy))
    assert done[:2] == [("CNN2C at the paper's learning rate", 45, 0, 45), ("Table 5, beta 2 and 4", 10, 0, 10)]
    assert done[-1] == ("CNN2C with the head as printed", 0, 0, 27)
    blocks = provenance.missing(done, ["something lies there"])
    frame = table(blocks)
    assert list(frame.loc["CNN2C, each loss at its own learning rate"]) == ["0", "0", "follows from the curves"]
    assert len(provenance.missing(done, [])) == len(blocks) - 1
