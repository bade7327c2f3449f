"""Pruned records: logits are dropped, results computed from them stay, and a full copy of a run still agrees."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import arrays, config, contents, result

from lossbench.config.run import run_id
from lossbench.runs import pruned
from lossbench.runs.archive import publish
from lossbench.runs.folder import open_run
from lossbench.runs.pruned import prune
from lossbench.runs.records import Record, all_records, committed_records, merge, own_records, verify
from lossbench.statistics import calibration
from lossbench.statistics.ranking import ranking
from lossbench.studies import pruning

LABELS = np.array([0, 1, 0, 0], np.uint8)
LOGITS = np.array([[3, 1], [0, 2], [-1, 1], [4, 0]], np.float16)


def trained(folder: Path, seed: int, labelled: bool = True, known: dict[str, Any] | None = None) -> str:
    """A finished run with logits, its record without scores, as runs were recorded at first, and with what is known."""
    made = config(folder, seed)
    run = open_run(made)
    run.start(made)
    kept = arrays(0.9) | {"test_logits": LOGITS, "test_predictions": LOGITS.argmax(axis=1).astype(np.uint8)}
    run.finish(result(made) | (known or {}), kept | ({"test_labels": LABELS} if labelled else {}))
    return run.id


def own_labels(record: Record, found: object) -> np.ndarray | None:
    return found.get("test_labels") if isinstance(found, dict) else None


def test_logits_go_and_their_scores_stay(tmp_path: Path) -> None:
    names = [trained(tmp_path / "out", seed, labelled=seed != 2) for seed in range(3)]
    publish(tmp_path / "out", tmp_path / "results")
    before = committed_records(tmp_path / "results").records
    done = prune(tmp_path / "results", lambda record: record.id == names[0], own_labels)
    assert (done.scored, done.dropped, done.unknown) == (sorted(names[:2]), [names[1]], [names[2]])
    found = committed_records(tmp_path / "results")
    assert verify(found) == []
    kept, lean_one, unknown = (found.records[name] for name in names)
    expected = calibration.scores(LOGITS, LABELS, "sml")
    for record in (kept, lean_one):
        assert record.fields["scores"] == expected
        assert record.fields["test_labels_sha256"] == calibration.labels_sha256(LABELS)
        assert record.fields["ranking"] == ranking(LOGITS, LABELS)
    assert "scores" not in unknown.fields
    full = before[names[1]]
    assert lean_one.fields["pruned"] == {
        "dropped": ["test_logits", "test_labels"],
        "full_sha256": full.fields["arrays_sha256"],
    }
    assert "pruned" not in kept.fields
    assert {name: sorted(found.records[name].arrays() or {}) for name in names} == {
        names[0]: ["confusion_matrix", "output_bias", "test_labels", "test_logits", "test_predictions"],
        names[1]: ["confusion_matrix", "output_bias", "test_predictions"],
        names[2]: ["confusion_matrix", "output_bias", "test_logits", "test_predictions"],
    }
    again = contents(tmp_path / "results")
    assert prune(tmp_path / "results", lambda record: record.id == names[0], own_labels) == pruned.Pruned(
        unknown=[names[2]]
    )
    assert contents(tmp_path / "results") == again


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_record_with_scores_from_before_gains_its_ranks(tmp_path: Path, keeps: bool, labelled: bool) -> None:
    """Its scores stay as they are, and without known classes its logits are treated as before."""
    given = {"scores": {"softmax": dict.fromkeys(("nll", "brier", "ece", "adaptive_ece", "overconfidence"), 0.25)}}
    name = trained(tmp_path / "out", 0, labelled, given)
    publish(tmp_path / "out", tmp_path / "results")
    done = prune(tmp_path / "results", lambda record: keeps, own_labels)
    assert (done.scored, done.dropped, done.unknown) == ([name] * labelled, [] if keeps else [name], [])
    fields = committed_records(tmp_path / "results").records[name].fields
    assert fields["scores"] == given["scores"]
    assert fields.get("ranking") == (ranking(LOGITS, LABELS) if labelled else None)
    before = contents(tmp_path / "results")
    assert prune(tmp_path / "results", lambda record: keeps, own_labels) == pruned.Pruned()
    assert contents(tmp_path / "results") == before


@pytest.mark.parametrize("agrees", [True, False])
def test_a_committed_record_gains_the_ranks_of_the_run_done_again(tmp_path: Path, agrees: bool) -> None:
    given = {"scores": {"softmax": dict.fromkeys(("nll", "brier", "ece", "adaptive_ece", "overconfidence"), 0.25)}}
    name = trained(tmp_path / "first", 0, known=given)
    publish(tmp_path / "first", tmp_path / "results")
    before = committed_records(tmp_path / "results").records[name].fields
    ranks = {"ranking": ranking(LOGITS, LABELS), "positive_classes": 1.5, "wall_s": 99.0}
    other = given if agrees else {"scores": {"softmax": given["scores"]["softmax"] | {"nll": 0.26}}}
    assert trained(tmp_path / "again", 0, known=other | ranks) == name
    assert publish(tmp_path / "again", tmp_path / "results") == 0
    found = committed_records(tmp_path / "results")
    assert verify(found) == []
    gained = {key: ranks[key] for key in ("ranking", "positive_classes")} if agrees else {}
    assert found.records[name].fields == before | gained


def test_a_pruned_and_a_full_copy_of_a_run_agree(tmp_path: Path) -> None:
    name = trained(tmp_path / "out", 0)
    publish(tmp_path / "out", tmp_path / "results")
    prune(tmp_path / "results", lambda record: False, own_labels)
    both = merge(own_records(tmp_path / "out"), committed_records(tmp_path / "results"))
    assert both.problems == []
    assert all_records(tmp_path / "out", tmp_path / "results").records[name].fields.get("pruned") is None
    before = contents(tmp_path / "results")
    assert publish(tmp_path / "out", tmp_path / "results") == 0
    assert contents(tmp_path / "results") == before, "the full copy does not come back"


def test_a_kill_between_records_and_arrays_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [trained(tmp_path / "out", seed) for seed in range(3)]
    for results in ("killed", "undisturbed"):
        publish(tmp_path / "out", tmp_path / results)
    prune(tmp_path / "undisturbed", lambda record: False, own_labels)
    real, written = pruned.write_bytes, []

    def write_bytes(path: Path, content: bytes) -> None:
        if len(written) == 2:  # the records, and the first run's arrays
            raise KeyboardInterrupt
        written.append(path.name)
        real(path, content)

    monkeypatch.setattr(pruned, "write_bytes", write_bytes)
    with pytest.raises(KeyboardInterrupt):
        prune(tmp_path / "killed", lambda record: False, own_labels)
    monkeypatch.undo()
    assert written[0] == "records.jsonl"
    assert verify(committed_records(tmp_path / "killed")) == []
    done = prune(tmp_path / "killed", lambda record: False, own_labels)
    assert len(done.dropped) == len(names) - 1
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


def test_nothing_is_pruned_where_a_record_cannot_be_trusted(tmp_path: Path) -> None:
    names = [trained(tmp_path / "out", seed) for seed in range(2)]
    publish(tmp_path / "out", tmp_path / "results")
    (tmp_path / "results" / "arrays" / f"{names[1]}.npz").write_bytes(b"something else")
    before = contents(tmp_path / "results")
    with pytest.raises(ValueError, match="is not what"):
        prune(tmp_path / "results", lambda record: False, own_labels)
    assert contents(tmp_path / "results") == before


def test_the_report_reads_what_is_kept_and_nothing_else(tmp_path: Path) -> None:
    """Digits serve no section of the report, so their logits go; their labels come with the run."""
    name = trained(tmp_path / "out", 0)
    publish(tmp_path / "out", tmp_path / "results")
    told = pruning.in_words(pruning.prune(tmp_path / "results", tmp_path / "out"))
    assert told.startswith("logits dropped from 1 runs, ")
    assert "1 records gained the scores or ranks computed" in told
    assert run_id(config(tmp_path / "out")) == name
    assert "test_logits" not in (committed_records(tmp_path / "results").records[name].arrays() or {})


def test_predictions_of_many_classes_go_and_their_counts_stay(tmp_path: Path) -> None:
    made = config(tmp_path / "out", 0)
    run = open_run(made)
    run.start(made)
    predicted, own = np.array([5, 1, 2, 7, 900] * 2, np.uint16), np.array([5, 1, 2, 8, 900] * 2, np.uint16)
    run.finish(
        result(made, 0.8),
        {"test_predictions": predicted, "test_labels": own},
    )
    publish(tmp_path / "out", tmp_path / "results")
    full = committed_records(tmp_path / "results").records[run.id]
    done = prune(tmp_path / "results", lambda record: False, own_labels)
    assert (done.dropped, done.scored, done.unknown) == ([run.id], [], [])
    found = committed_records(tmp_path / "results")
    assert verify(found) == []
    left = found.records[run.id].arrays() or {}
    assert {name: array.tolist() for name, array in left.items()} == {"test_counts": [8, 10]}
    assert found.records[run.id].fields["pruned"] == {
        "dropped": ["test_predictions", "test_labels"],
        "full_sha256": full.fields["arrays_sha256"],
    }
    assert prune(tmp_path / "results", lambda record: False, own_labels) == pruned.Pruned()
    assert all_records(tmp_path / "out", tmp_path / "results").problems == []
    assert publish(tmp_path / "out", tmp_path / "results") == 0


def test_of_a_run_that_nothing_reads_the_confusion_matrix_stays(tmp_path: Path) -> None:
    made = config(tmp_path / "out", 0)
    run = open_run(made)
    run.start(made)
    whole = arrays(0.8) | {"test_predictions": np.array([0, 1], np.uint8), "test_mean_softmax": np.eye(2)}
    whole |= {"gradient_norm": np.ones(3)}
    run.finish(result(made, 0.8), whole)
    publish(tmp_path / "out", tmp_path / "results")
    full = committed_records(tmp_path / "results").records[run.id]
    assert prune(tmp_path / "results", lambda record: False, own_labels).dropped == []
    done = prune(tmp_path / "results", lambda record: False, own_labels, lambda record: record.id != run.id)
    assert done.dropped == [run.id]
    found = committed_records(tmp_path / "results")
    assert verify(found) == []
    left = found.records[run.id].arrays() or {}
    assert list(left) == ["confusion_matrix", "gradient_norm"]
    assert np.array_equal(left["confusion_matrix"], whole["confusion_matrix"])
    assert found.records[run.id].fields["pruned"] == {
        "dropped": ["test_predictions", "output_bias", "test_mean_softmax"],
        "full_sha256": full.fields["arrays_sha256"],
    }
    again = prune(tmp_path / "results", lambda record: False, own_labels, lambda record: record.id != run.id)
    assert again == pruned.Pruned()
    assert all_records(tmp_path / "out", tmp_path / "results").problems == []
