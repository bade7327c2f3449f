"""Runs as one Parquet file: a row a run, types by the names of columns, and three programs that read it."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kinds_of_runs import Invoke
from tables_of_runs import OUTPUTS, add, config, diverge, stop

from lossbench.data.digits import Digits
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.runs.flat_rows import columns_of, option_types, rows_of, type_of, typed
from lossbench.runs.inspect import entries

FILE = "runs.parquet"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make() -> None:
    """Three finished runs, one that diverged and one that was stopped."""
    add(config(Sml(), 0, lr=0.1), 0.9, wall_s=3, scores={"softmax": _scores(0.5), "tempered": _tempered()})
    add(config(Sml(), 1, lr=0.1, dataset=Digits(classes=[1, 4], num_validation=30)), 0.8)
    add(config(LglInr(beta=4.0)), 0.95, num_parameters=10)
    diverge(config(LglInr(beta=4.0), 1))
    stop(config(Sml(), 2))


def _scores(nll: float) -> dict[str, float]:
    return {"nll": nll, "brier": 0.1, "ece": 0.02, "adaptive_ece": 0.02, "overconfidence": 0.01}


def _tempered() -> Mapping[str, Any]:
    return {**_scores(0.4), "maps": ["softmax", "softmax"], "temperatures": [0.5, 2]}


def test_a_row_has_the_options_and_results_of_a_run() -> None:
    make()
    known = columns_of(rows_of(entries(OUTPUTS)))
    rows = [dict(zip(known, values, strict=True)) for values in zip(*known.values(), strict=True)]
    assert [row["status"] for row in rows] == ["finished", "diverged", "finished", "finished"]
    lgl_inr, diverged, first, second = rows
    assert lgl_inr["config.loss.beta"] == diverged["config.loss.beta"] == 4.0
    assert lgl_inr["test_accuracy"] == 0.95
    assert diverged["test_accuracy"] is None
    assert diverged["epoch"] == 3
    assert "nan" in diverged["reason"]
    assert first["config.loss.beta"] is None
    assert first["scores.softmax.nll"] == 0.5
    assert second["config.dataset.classes"] == [1, 4]
    assert first["versions.torch"] == "2.0"
    assert not [name for name in known if "curves" in name or name.endswith("_dir") or name == "config.plugins"]
    assert list(known)[:5] == ["run_id", "status", "reason", "epoch", "step"]
    options = [place for place, name in enumerate(known) if name.startswith("config.")]
    assert options == list(range(options[0], options[-1] + 1))


def test_the_type_of_a_column_follows_from_its_name_alone() -> None:
    options = option_types()
    assert options["config.dataset.num_train"] is int  # null in most runs
    assert options["config.schedule.lr"] is float
    assert options["config.schedule.relabel"] is bool
    assert options["config.schedule.milestones"] is str  # a list, in JSON
    assert options["config.runtime.parallel"] is str  # a number or "auto"
    assert options["config.loss.correction"] is str  # a word of one loss, true or false of another
    assert options["config.loss.eps"] is float
    known = {"config.loss.theirs": str, "config.seed": int, "scores.own.nll": float, "num_test": int}
    known |= {"deterministic": bool, "versions.numpy": str, "metrics.test/perplexity": float, "plugins.loss.label": str}
    assert {name: type_of(name, options) for name in known} == known


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, None, 2.0], int, ([1, None, 2], int)),
        ([1, None, 2.5], float, ([1.0, None, 2.5], float)),
        ([None, None], float, ([None, None], float)),
        (["auto", 2, None], str, (["auto", "2", None], str)),
        ([[1, 28], None, []], str, (["[1, 28]", None, "[]"], str)),
        ([1, 2.5], int, (["1", "2.5"], str)),
        ([2**70, 1], int, ([str(2**70), "1"], str)),
        ([True, 1.0], float, (["true", "1.0"], str)),
        ([float("inf"), 1], int, (["Infinity", "1"], str)),
    ],
)
def test_values_have_the_type_of_their_column_or_all_are_texts(values: list[Any], kind: type, expected: Any) -> None:
    found, of = typed(values, kind)
    assert (found, of) == expected
    assert [type(value) for value in found] == [type(value) for value in expected[0]]


def test_pandas_polars_and_duckdb_read_the_file(invoke: Invoke) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra parquet)")
    make()
    assert "4 runs written to runs.parquet" in invoke("export", FILE).output
    import pandas as pd

    frame = pd.read_parquet(FILE)
    assert frame.groupby("config.loss.name")["test_accuracy"].mean().to_dict() == pytest.approx(
        {"lgl_inr": 0.95, "sml": 0.85}
    )
    assert frame["config.seed"].dtype == "int64"
    assert frame["config.dataset.classes"].dropna().tolist() == ["[1, 4]"]
    polars = pytest.importorskip("polars", reason="polars is not installed (extra readers)")
    best = polars.read_parquet(FILE).sort("test_accuracy", descending=True, nulls_last=True)
    assert best["config.loss.beta"].to_list()[:2] == [4.0, None]
    assert best.schema["config.dataset.num_validation"] == polars.Int64
    assert best.schema["config.dataset.label_noise"] == polars.Float64  # null in all runs
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed (extra readers)")
    query = f"""select "config.loss.name", count(test_accuracy) from '{FILE}' group by 1 order by 1"""
    assert duckdb.sql(query).fetchall() == [("lgl_inr", 1), ("sml", 2)]


def test_types_do_not_change_with_the_runs(invoke: Invoke) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (extra parquet)")
    add(config(Sml(), 0), 0.9)
    invoke("export", "few.parquet")
    make()
    invoke("export", FILE)
    few, many = (parquet.read_schema(file) for file in ("few.parquet", FILE))
    assert {name: few.field(name).type for name in few.names} == {name: many.field(name).type for name in few.names}
    assert set(few.names) < set(many.names)


def test_committed_records_are_written_too_and_damaged_ones_named(invoke: Invoke) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra parquet)")
    make()
    invoke("publish", "results")
    damaged = next(Path("outputs").glob("runs/digits-cnn2c-sml-s0-*/result.json"))
    damaged.write_text("{")
    result = invoke("export", FILE)
    assert "3 runs written" in result.output
    assert f"left out: {damaged} holds a damaged record" in result.output
    both = invoke("export", FILE, "--output-dir", "other", "--results-dir", "results").output
    assert "4 runs written" in both  # three finished and one that diverged


def test_what_cannot_be_exported_is_a_sentence(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    add(replace(config(Sml())), 0.9)

    def refused(*words: str) -> str:
        from click.testing import CliRunner

        from lossbench.cli.main import lossbench

        error = CliRunner().invoke(lossbench, words).exception
        assert isinstance(error, ValueError)
        return str(error)

    assert "--weights is for archives" in refused("export", FILE, "--weights")
    Path("results").mkdir()
    assert "committed records are exported to a .parquet alone" in refused(
        "export", "a.zip", "--results-dir", "results"
    )
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "runs.parquet needs the package pyarrow, which is not installed" in refused("export", FILE)
    assert not Path(FILE).exists()
