"""Texts as samples of next-word prediction: words, vocabulary, contexts and the next word."""

import gzip
import lzma
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lossbench.system.files import sha256_of

AUSTEN = Path(__file__).parent / "austen"
"""Six novels of Jane Austen, in the public domain: Project Gutenberg's texts as the R package janeaustenr has them."""

AUSTEN_SHA256 = {
    "emma": "ffd6e69be7565143f4d4880f63232b138f8cced4d9432a051b3753d5e30b409a",
    "mansfieldpark": "7aa5b4b37393653a6dea8783c23a7ce34516f61919a039721cf7503430eb81e3",
    "northangerabbey": "f55e1ff75274c839c1a769811b8e05d0efb563ec311d01b602419df9a10d4dac",
    "persuasion": "1a7b35d709875d1f9b04c87d3f2b4137e6ef654db3e7929aa4c150ecb487d14a",
    "prideprejudice": "6cf6c847a3192ae802d4f40dc233acd144a2465d5ce06a1626977fb89b7bb773",
    "sensesensibility": "a013947b1c562bafe06d06b7036759d2c7b400533ac23ac76d2f08a1062a836a",
}
"""SHA-256 of the packed files."""

TEST_SHARE = 10
"""The last of so many equal parts of each text is for testing."""

_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|[.,;:!?]")
_OPENERS: dict[bytes, Callable[[bytes], bytes]] = {b"\x1f\x8b": gzip.decompress, b"\xfd7zXZ\x00": lzma.decompress}


class Text(NamedTuple):
    """Texts in words.

    Args:
        words: all types, in the order of their frequency in the training parts, equals alphabetically.
        counts: of the types in the training parts, int64 [V].
        train: the training part of each text as places in `words`, int32.
        test: likewise the test parts.
    """

    words: tuple[str, ...]
    counts: np.ndarray
    train: tuple[np.ndarray, ...]
    test: tuple[np.ndarray, ...]


def tokens(text: str) -> list[str]:
    """The words of a text in lower case, and its marks . , ; : ! ? as words of their own; all else is left out."""
    return _TOKEN.findall(text.lower())


def unpacked(path: Path, encoding: str | None = None) -> str:
    """The content of a text file, plain or packed with gzip or xz, which its first bytes say.

    Args:
        path: the file.
        encoding: one that Python knows; None: UTF-8.

    Raises:
        ValueError: it cannot be read, or is no text in this encoding.
    """
    try:
        content = path.read_bytes()
        for magic, opener in _OPENERS.items():
            if content.startswith(magic):
                content = opener(content)
        return content.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"dataset.path must be a text in {encoding or 'UTF-8'}, and {path} is none (byte {error.start}); "
            "dataset.encoding names another encoding, such as cp1252"
        ) from error
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise ValueError(f"dataset.path: {path} cannot be read ({error})") from error


@lru_cache(maxsize=2)
def austen() -> Text:
    """The six novels.

    Raises:
        ValueError: a file is missing or is not the published one.
    """
    texts = []
    for name, expected in AUSTEN_SHA256.items():
        path = AUSTEN / f"{name}.txt.xz"
        if not path.is_file() or sha256_of(path) != expected:
            raise ValueError(f"{path} is missing or damaged; install lossbench again")
        texts.append(tokens(unpacked(path)))
    return in_words(texts)


@lru_cache(maxsize=2)
def of_file(path: str, sha256: str, encoding: str | None = None) -> Text:
    """A text file of a user's, in UTF-8 if `encoding` is None.

    Raises:
        ValueError: it is another file than the digest says, no text, or has fewer than two different words.
    """
    if sha256_of(Path(path)) != sha256:
        raise ValueError(
            f"dataset.path: {path} has changed since dataset.sha256 was computed; leave dataset.sha256 out"
        )
    found = in_words([tokens(unpacked(Path(path), encoding))])
    if len(found.words) < 2:
        words = f"one word ({found.words[0]})" if found.words else "no words"
        raise ValueError(f"dataset.path must be a text with two different words or more, and {path} has {words}")
    return found


def in_words(texts: Sequence[Sequence[str]]) -> Text:
    """Texts, each a list of words, as places in their vocabulary; the last tenth of each is for testing.

    The vocabulary is that of the training parts; a word that is in a test part alone is at place V.
    """
    cuts = [len(text) - len(text) // TEST_SHARE for text in texts]
    known = Counter(word for text, cut in zip(texts, cuts, strict=True) for word in text[:cut])
    words = sorted(known, key=lambda word: (-known[word], word))
    place = {word: nth for nth, word in enumerate(words)}
    lines = [np.array([place.get(word, len(words)) for word in text], np.int32) for text in texts]
    train = tuple(line[:cut] for line, cut in zip(lines, cuts, strict=True))
    test = tuple(line[cut:] for line, cut in zip(lines, cuts, strict=True))
    return Text(tuple(words), np.array([known[word] for word in words], np.int64), train, test)


def samples(parts: Sequence[np.ndarray], num_classes: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The contexts and the next words of some parts.

    Args:
        parts: places in a vocabulary, each [N].
        num_classes: K; a word at place K or beyond is unknown, which is K in a context, and no class.
        length: words of a context.

    Returns:
        Contexts, int32 [M, length], values 0..K, and next words, int32 [M], values 0..K-1.
    """
    contexts, labels = [], []
    for part in parts:
        if len(part) <= length:
            continue
        known = np.minimum(part, num_classes)
        windows = np.lib.stride_tricks.sliding_window_view(known, length + 1)
        chosen = windows[windows[:, -1] < num_classes]
        contexts.append(chosen[:, :-1])
        labels.append(chosen[:, -1])
    if not contexts:
        return np.zeros((0, length), np.int32), np.zeros(0, np.int32)
    return np.ascontiguousarray(np.concatenate(contexts)), np.ascontiguousarray(np.concatenate(labels))
