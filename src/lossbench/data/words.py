"""Next-word prediction: a class for each of the most frequent words of a text."""

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lossbench.config.options import DatasetConfig, Sizes, require
from lossbench.config.registry import register_dataset
from lossbench.data import text
from lossbench.system.files import expanded, sha256_of

SMALLEST = 2
"""Classes that a vocabulary must have."""


@register_dataset(label="words")
@dataclass
class Words(DatasetConfig):
    """The next word of six novels of Jane Austen, or of a text of your own, from the words before it.

    The classes are the `vocabulary` most frequent words of the training part, the most frequent one first. A position
    whose next word is none of them is left out; in a context such a word is `vocabulary`.
    """

    name: str = "words"
    vocabulary: int = 9580  # number of classes: the most frequent words of the training part
    context: int = 4  # number of words before
    num_test: int | None = None  # number of test positions, evenly spaced among all; None: all
    path: str | None = None  # of a text, plain or packed with gzip or xz; None: Jane Austen's novels
    sha256: str | None = None  # of that file, part of the run's name instead of the path; None: computed from the file
    encoding: str | None = None  # of that file, a name that Python knows, such as cp1252; None: UTF-8

    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "top5_accuracy", "perplexity", "mrr", "ndcg10")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.vocabulary >= SMALLEST, "dataset.vocabulary", f">= {SMALLEST}", self.vocabulary)
        require(
            self.classes is None,
            "dataset.classes",
            "null for dataset=words, whose classes are words of the contexts too; dataset.vocabulary takes fewer",
            self.classes,
        )
        require(self.num_test is None or self.num_test >= 1, "dataset.num_test", "null or >= 1", self.num_test)
        require(1 <= self.context <= 64, "dataset.context", "in 1..64", self.context)
        if self.path is None:
            require(self.sha256 is None, "dataset.sha256", "null without dataset.path", self.sha256)
            require(self.encoding is None, "dataset.encoding", "null without dataset.path", self.encoding)
            return
        self.encoding = None if self.encoding is None else _encoding(self.encoding)
        self.path = expanded(self.path, "dataset.path")
        if self.sha256 is None:
            require(Path(self.path).is_file(), "dataset.path", "an existing text file", self.path)
            self.sha256 = sha256_of(Path(self.path))
        valid = len(self.sha256) == 64 and set(self.sha256) <= set("0123456789abcdef")
        require(valid, "dataset.sha256", "null or 64 digits 0-9a-f", self.sha256)

    def _text(self) -> text.Text:
        if self.path is None or self.sha256 is None:
            return text.austen()
        return text.of_file(self.path, self.sha256, self.encoding)

    def sizes(self) -> Sizes:
        """Numbers of positions whose next word is a class; the text is read once."""
        known = _sizes(self.path, self.sha256, self.encoding, self.vocabulary, self.context)
        if self.num_test is None:
            return known
        require(self.num_test <= known.num_test, "dataset.num_test", f"<= {known.num_test}", self.num_test)
        return replace(known, num_test=self.num_test)

    def class_names(self) -> tuple[str, ...]:
        """The words."""
        return self._text().words[: self.vocabulary]

    def variant(self) -> str:
        """The text, the number of classes, the length of contexts, and what else is not as usual."""
        further = "".join(f"-{value}" for value in (self.num_test, self.encoding) if value is not None)
        return f"{'austen' if self.sha256 is None else self.sha256[:16]}-{self.vocabulary}-{self.context}{further}"

    def read(self, runtime: Any) -> Mapping[str, np.ndarray]:
        """Contexts, int32 [N, context], and the places of the next words."""
        found = self._text()
        arrays: dict[str, np.ndarray] = {}
        for split, parts in (("train", found.train), ("test", found.test)):
            contexts, labels = text.samples(parts, self.vocabulary, self.context)
            if split == "test" and self.num_test is not None:
                spaced = np.arange(self.num_test) * len(labels) // self.num_test
                contexts, labels = contexts[spaced], labels[spaced]
            arrays |= {f"{split}_images": contexts, f"{split}_labels": labels}
        return arrays


def _encoding(name: str) -> str | None:
    """Python's own name of an encoding; None for UTF-8, so that runs with both spellings are the same."""
    try:
        "a".encode(name)
        known = codecs.lookup(name).name
    except (LookupError, ValueError):
        raise ValueError(f"dataset.encoding must be null or an encoding that Python knows, got {name!r}") from None
    return None if known == "utf-8" else known


@lru_cache(maxsize=16)
def _sizes(path: str | None, sha256: str | None, encoding: str | None, vocabulary: int, context: int) -> Sizes:
    found = text.austen() if path is None or sha256 is None else text.of_file(path, sha256, encoding)
    known, where = len(found.words), path or "Jane Austen's novels"
    if vocabulary > known:
        raise ValueError(
            f"dataset.vocabulary must be <= {known}, the words in the training part of {where}, got {vocabulary}"
        )
    num_train, num_test = (len(text.samples(parts, vocabulary, context)[1]) for parts in (found.train, found.test))
    if not num_train or not num_test:
        part = "training" if not num_train else "test"
        raise ValueError(f"dataset.path: {where} is too short: its {part} part has no word with {context} before it")
    return Sizes(num_train, num_test, (context,), vocabulary)
