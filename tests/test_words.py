"""Next-word prediction: tokens, vocabulary, contexts, own texts, and a run from config to record."""

import gzip
import lzma
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lossbench.config.run import Config, Optimizer, Runtime, Schedule, run_id
from lossbench.data import text
from lossbench.data.words import Words
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.models.word2next import Word2Next
from lossbench.runs.records import own_records, verify
from lossbench.sweep.run_all import run_all
from lossbench.training.fit import start_state
from lossbench.training.metrics import METRICS, Scored


def own(folder: Path, content: str, **options: Any) -> Words:
    path = folder / "own.txt"
    path.write_text(content)
    return Words(path=str(path), **options)


def test_tokens_are_words_in_lower_case_and_marks() -> None:
    assert text.tokens("It's _so_ -- well: No, 3 Élan's?") == ["it's", "so", "well", ":", "no", ",", "élan's", "?"]


def test_the_novels_are_those_published() -> None:
    found = text.austen()
    assert sum(map(len, (*found.train, *found.test))) == 831_728
    for train, test in zip(found.train, found.test, strict=True):
        assert len(test) == (len(train) + len(test)) // 10
    assert found.words[:5] == (",", ".", "the", "to", "and")
    counts = found.counts.tolist()
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == sum(map(len, found.train))


def test_samples_are_the_words_before_and_the_next_one() -> None:
    contexts, labels = text.samples([np.array([0, 2, 1, 5, 0, 3]), np.array([1, 0])], 3, 2)
    assert contexts.tolist() == [[0, 2], [1, 3]]  # 3 is unknown: in a context, and no class
    assert labels.tolist() == [1, 0]


def test_the_vocabulary_is_that_of_the_training_part(tmp_path: Path) -> None:
    words = own(tmp_path, "b a a b a c d d d " * 2 + "e e ", vocabulary=3, context=1)  # 20 words, the last 2 are "e e"
    with pytest.raises(ValueError, match="its test part has no word with 1 before it"):
        words.sizes()
    words = own(tmp_path, "b a a b a c d d d " * 2 + "e d ", vocabulary=3, context=1)
    assert words.class_names() == ("a", "d", "b")
    known = words.sizes()
    assert (known.num_train, known.num_test, known.shape, known.num_classes) == (15, 1, (1,), 3)
    arrays = words.read(None)
    assert arrays["train_images"][:, 0].tolist()[:6] == [2, 0, 0, 2, 3, 1]
    assert arrays["train_labels"].tolist()[:6] == [0, 0, 2, 0, 1, 1]
    assert (arrays["test_images"].tolist(), arrays["test_labels"].tolist()) == ([[3]], [1])


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("xz", lzma.compress)])
def test_a_packed_text_is_read_like_a_plain_one(suffix: str, pack: Any, tmp_path: Path) -> None:
    content = "one two three two one. " * 40
    plain = own(tmp_path, content, vocabulary=3)
    packed = tmp_path / f"own.txt.{suffix}"
    packed.write_bytes(pack(content.encode()))
    both = [one.read(None) for one in (plain, Words(path=str(packed), vocabulary=3))]
    assert all(np.array_equal(array, both[1][name]) for name, array in both[0].items())


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("", {}, "no words"),
        ("... 12", {}, r"one word \(\.\)"),
        (
            "a b c " * 9,
            {"vocabulary": 4},
            "dataset.vocabulary must be <= 3, the words in the training part of .*own.txt, got 4",
        ),
        ("a b c " * 9, {"vocabulary": 1}, "dataset.vocabulary must be >= 2, got 1"),
        ("a b c " * 9, {"context": 0}, "dataset.context must be in 1..64, got 0"),
    ],
)
def test_a_useless_text_is_refused_in_a_sentence(content: str, options: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        own(tmp_path, content, **options).sizes()


def test_what_is_no_text_or_has_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_bytes(b"a b \xff\xfe")
    with pytest.raises(ValueError, match=r"must be a text in UTF-8, and .* is none \(byte 4\)"):
        Words(path=str(path)).sizes()
    words = own(tmp_path, "a b c " * 9, vocabulary=2)
    path.write_text("something else")
    with pytest.raises(ValueError, match=r"has changed since dataset\.sha256 was computed"):
        words.sizes()
    path.write_bytes(b"\x1f\x8b damaged")
    with pytest.raises(ValueError, match="cannot be read"):
        Words(path=str(path)).sizes()
    with pytest.raises(ValueError, match=r"dataset\.path must be an existing text file"):
        Words(path=str(tmp_path / "none.txt"))


def test_a_text_in_another_encoding_is_read_if_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    path.write_bytes(gzip.compress(("the façade’s end. " * 40).encode("cp1252")))
    with pytest.raises(ValueError, match=r"none \(byte 6\); dataset.encoding names another encoding, such as cp1252"):
        Words(path=str(path), vocabulary=4).sizes()
    words = Words(path=str(path), vocabulary=4, encoding="Windows-1252")
    assert words.encoding == "cp1252"
    assert set(words.class_names()) == {"the", "façade’s", "end", "."}
    assert Words(path=str(path), encoding="utf8").encoding is None
    plain = own(tmp_path, "the façade’s end. " * 40, vocabulary=4)
    assert np.array_equal(plain.read(None)["test_images"], words.read(None)["test_images"])
    with pytest.raises(ValueError, match=r"must be a text in ascii, and .* is none \(byte 6\)"):
        Words(path=str(path), vocabulary=4, encoding="ascii").sizes()
    for name in ("no-such", "hex", ""):
        with pytest.raises(ValueError, match=r"dataset\.encoding must be null or an encoding that Python knows"):
            Words(path=str(path), encoding=name)
    with pytest.raises(ValueError, match=r"dataset\.encoding must be null without dataset\.path, got cp1252"):
        Words(encoding="cp1252")


def test_some_test_positions_are_evenly_spaced_ones(tmp_path: Path) -> None:
    words = own(tmp_path, "a b a c b a c d " * 50, vocabulary=4, context=1)
    few = own(tmp_path, "a b a c b a c d " * 50, vocabulary=4, context=1, num_test=5)
    assert (words.sizes().num_test, few.sizes().num_test) == (39, 5)
    every, some = words.read(None), few.read(None)
    for name in ("test_images", "test_labels"):
        assert np.array_equal(some[name], every[name][[0, 7, 15, 23, 31]])
    assert np.array_equal(some["train_labels"], every["train_labels"])
    assert few.variant() != words.variant()
    with pytest.raises(ValueError, match=r"dataset\.num_test must be <= 39, got 40"):
        own(tmp_path, "a b a c b a c d " * 50, vocabulary=4, context=1, num_test=40).sizes()
    with pytest.raises(ValueError, match=r"dataset\.num_test must be null or >= 1, got 0"):
        Words(num_test=0)


def test_a_name_depends_on_the_text_and_not_on_its_place(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = (own(tmp_path / name, "a b c " * 9, vocabulary=2) for name in ("a", "b"))
    made = [Config(words, Word2Next(), Sml(), Schedule()) for words in (one, other, Words(vocabulary=1000))]
    assert run_id(made[0]) == run_id(made[1]) != run_id(made[2])


def test_the_output_biases_begin_at_the_class_shares(tmp_path: Path) -> None:
    words = own(tmp_path, "a b a c a " * 30, vocabulary=3)
    runtime = Runtime(device="cpu", output_dir=str(tmp_path / "out"))
    share = np.bincount(words.read(None)["train_labels"]) / words.sizes().num_train
    expected = {"sml": np.log(share), "lgl": np.log(share / (1 - share)), "lgl_inr": np.zeros(3)}
    for loss in (Sml(), Lgl(), LglInr()):
        state = start_state(Config(words, Word2Next(), loss, Schedule(), 0, runtime), torch.device("cpu"))
        assert state.model[-1].bias.tolist() == pytest.approx(expected[loss.name], abs=1e-6)  # type: ignore[index]
    off = start_state(Config(words, Word2Next(prior_bias=False), Sml(), Schedule(), 0, runtime), torch.device("cpu"))
    assert off.model[-1].bias.abs().max() < 1  # type: ignore[index]
    assert off.model[-1].bias.tolist() != pytest.approx(expected["sml"], abs=0.1)  # type: ignore[index]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_ranks_are_those_of_plain_comparisons(dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randint(-4, 5, (300, 12), generator=draw).to(dtype)  # with many ties
    target = torch.randint(12, (300,), generator=draw)
    own = logits.gather(1, target[:, None])
    expected = 0.5 + (logits > own).sum(dim=1) + 0.5 * (logits == own).sum(dim=1)
    assert torch.equal(Scored(logits, target).mid_rank, expected)
    assert Scored(logits[:0], target[:0]).mid_rank.shape == (0,)


def test_single_classes_of_a_text_are_refused() -> None:
    said = r"dataset\.classes must be null for dataset=words, .*; dataset\.vocabulary takes fewer, got \[0, 1\]"
    with pytest.raises(ValueError, match=said):
        Words(classes=[0, 1])


def test_ranks_of_equal_logits_are_their_mean_rank() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0], [1.0, 1.0, 1.0], [2.0, 2.0, 1.0], [0.0, 5.0, 5.0]])
    target = torch.tensor([2, 0, 1, 0])
    assert Scored(logits, target).mid_rank.tolist() == [2, 2, 1.5, 3]
    assert METRICS["mrr"].of_samples(Scored(logits, target)).tolist() == pytest.approx([1 / 2, 1 / 2, 1 / 1.5, 1 / 3])
    gains = [1 / math.log2(3), 1 / math.log2(3), 1 / math.log2(2.5), 1 / 2]
    assert METRICS["ndcg10"].of_samples(Scored(logits, target)).tolist() == pytest.approx(gains)
    far = torch.arange(12.0)[None]
    assert METRICS["ndcg10"].of_samples(Scored(far, torch.tensor([2]))).tolist() == pytest.approx([1 / math.log2(11)])
    assert METRICS["ndcg10"].of_samples(Scored(far, torch.tensor([1]))).tolist() == [0]


@pytest.mark.parametrize("optimizer", [None, Optimizer.adagrad, Optimizer.adamw])
def test_a_text_goes_from_config_to_record(optimizer: Optimizer | None, tmp_path: Path) -> None:
    words = own(tmp_path, "the cat sat on the mat . a dog ran to the park ! " * 60, vocabulary=12, context=3)
    lr = {None: 0.5, Optimizer.adagrad: 0.1, Optimizer.adamw: 0.01}[optimizer]
    schedule = Schedule(epochs=6, batch_size=16, lr=lr, momentum=0.0, optimizer=optimizer)
    runtime = Runtime(device="cpu", output_dir=str(tmp_path / "out"), num_threads=1, parallel=1, tensorboard=False)
    made = Config(words, Word2Next(embedding=8, hidden=16), Sml(), schedule, 0, runtime)
    assert run_all([made]).failed == {}
    found = own_records(tmp_path / "out")
    assert verify(found) == []
    fields = found.records[run_id(made)].fields
    assert fields["test_accuracy"] > 0.9
    assert fields["metrics"]["test/ndcg10"] >= fields["metrics"]["test/mrr"] > 0.9
    assert "optimizer" in fields["config"]["schedule"]
