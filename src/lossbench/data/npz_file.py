"""Reading and checking a user's own .npz file; nothing in it is ever unpickled."""

import hashlib
import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import IO, Any, NamedTuple, TypeVar

import numpy as np

from lossbench.system.files import read_file

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
SMALLEST_SIDE = 8  # of an image, in pixels; so an axis of 1 or 3 can only be the channels

IMAGES = f"[N,H,W], [N,H,W,C] or [N,C,H,W] with C 1 or 3 and sides of at least {SMALLEST_SIDE}"

LONGEST_HEADER = 2**16
"""Bytes of a header that are read; numpy refuses longer ones than 10,000."""

T = TypeVar("T")


class Header(NamedTuple):
    """Shape and type of an array, known before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int = 0  # of the values, in bytes from the beginning of the file
    is_fortran: bool = False


@cache
def sizes(path: str, sha256: str) -> tuple[int, int, tuple[int, int, int], int]:
    """Training images, test images, image shape [C, H, W] and number of classes; of the images only headers are read.

    Raises:
        ValueError: the file is not the one with this SHA-256, or no data set.
    """
    content = _verified(path, sha256)
    shape = _check_headers(path, _read(path, content, ARRAYS, _header))
    labels = _read(path, content, ("train_labels", "test_labels"), _array)
    num_classes = _check_labels(path, labels["train_labels"], labels["test_labels"])
    return len(labels["train_labels"]), len(labels["test_labels"]), shape, num_classes


def read(path: str, sha256: str) -> dict[str, np.ndarray]:
    """The arrays of a data set: images uint8 [N, C, H, W], made from floats by rounding to 256 steps; labels int64 [N].

    Raises:
        ValueError: the file is not the one with this SHA-256, or no data set.
    """
    content = _verified(path, sha256)
    _check_headers(path, _read(path, content, ARRAYS, _header))
    arrays = _read(path, content, ARRAYS, _array)
    _check_labels(path, arrays["train_labels"], arrays["test_labels"])
    for name in ARRAYS:
        is_image = name.endswith("images")
        arrays[name] = _pixels(path, name, arrays[name]) if is_image else arrays[name].astype(np.int64)
    images = arrays["train_images"]
    for channel in range(images.shape[1]):
        if images[:, channel].min() == images[:, channel].max():
            found = f"holds one value only, {images[0, channel, 0, 0]} of 255, in channel {channel}"
            raise _wrong(path, "train_images", found, "pixels that differ")
    return arrays


def _wrong(path: str, array: str, found: str, expected: str) -> ValueError:
    return ValueError(f"dataset.path={path}: {array} {found}, expected {expected}")


def _verified(path: str, sha256: str) -> bytes:
    """The file's bytes, read once, so that the bytes used are those verified."""
    try:
        content = read_file(path)
    except OSError as error:
        raise ValueError(f"dataset.path={path} cannot be read ({error.strerror})") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(
            f"dataset.path={path} is not the file that was named: it has SHA-256 {found[:12]}..., "
            f"expected {sha256[:12]}...; leave out dataset.sha256 to take the file as it is"
        )
    return content


def _read(path: str, content: bytes, names: Sequence[str], read: Callable[[zipfile.ZipFile, str], T]) -> dict[str, T]:
    """Apply `read` to each named array; any damage of the file becomes a ValueError with one sentence."""
    found: list[str] = []
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:  # its checksums are verified as it is read
            found = [name.removesuffix(".npy") for name in archive.namelist()]
            if set(names) <= set(found):
                return {name: read(archive, f"{name}.npy") for name in names}
    except (zipfile.BadZipFile, zlib.error, struct.error, ValueError, EOFError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"dataset.path={path} is no complete .npz file ({reason}); write it again with np.savez"
        ) from error
    missing = ", ".join(name for name in names if name not in found)
    raise ValueError(f"dataset.path={path} lacks {missing}; it holds {', '.join(found) or 'nothing'}")


def _header(archive: zipfile.ZipFile, member: str) -> Header:
    with archive.open(member) as file:
        return header_of(file, member, archive.getinfo(member).file_size)


def header_of(file: IO[bytes], name: str, size: int) -> Header:
    """The header of an array in the `.npy` format.

    Args:
        file: read from its beginning to the end of the header.
        name: of the array, for messages.
        size: of the file, in bytes.

    Raises:
        ValueError: the header is damaged, or requires another size.
    """
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} is no plain array")
    form = "<H" if version == (1, 0) else "<I"
    text = file.read(struct.calcsize(form))
    if len(text) == struct.calcsize(form):
        text += file.read(min(*struct.unpack(form, text), LONGEST_HEADER))
    try:
        shape, is_fortran, dtype = _parsed(version, text)
    except (SyntaxError, tokenize.TokenError) as error:
        raise ValueError(f"{name} has a damaged header") from error
    required = file.tell() + math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and size != required:
        raise ValueError(f"{name} has {size} bytes, but its header requires {required}")
    return Header(shape, dtype, file.tell(), is_fortran)


@lru_cache(2**12)
def _parsed(version: tuple[int, int], text: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """A header with its length before it; those of thousands of runs are the same few."""
    of_version = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, is_fortran, dtype = of_version[version](io.BytesIO(text))
    return shape, is_fortran, dtype


def array_in(content: bytes, header: Header) -> np.ndarray:
    """The array in the bytes of an `.npy` file whose header has been read and fits its size.

    Args:
        content: the bytes of the file.
        header: from `header_of`; of numbers.
    """
    count = math.prod(header.shape)
    if not count:
        return np.empty(header.shape, header.dtype)
    flat = np.frombuffer(content, header.dtype, count, header.start)
    return flat.reshape(header.shape, order="F" if header.is_fortran else "C").copy(order="K")


def _array(archive: zipfile.ZipFile, member: str) -> np.ndarray:
    with archive.open(member) as file:
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        return array


def _check_headers(path: str, headers: dict[str, Header]) -> tuple[int, int, int]:
    """Check all shapes and types; returns the image shape [C, H, W]."""
    shapes = {}
    for part in ("train", "test"):
        images, labels = headers[f"{part}_images"], headers[f"{part}_labels"]
        if images.dtype != np.uint8 and images.dtype.kind != "f":
            raise _wrong(path, f"{part}_images", _found(images), "uint8, or floats in 0..1")
        if labels.dtype.kind not in "iu":
            raise _wrong(path, f"{part}_labels", _found(labels), "integers")
        if _channels_axis(images.shape) is None:
            raise _wrong(path, f"{part}_images", _found(images), IMAGES)
        if images.shape[0] == 0:
            raise _wrong(path, f"{part}_images", _found(images), "at least one image, but N is 0")
        if labels.shape != images.shape[:1]:
            raise _wrong(path, f"{part}_labels", _found(labels), f"[{images.shape[0]}], a label for each image")
        shapes[part] = _image_shape(images.shape)
    if shapes["train"] != shapes["test"]:
        found = f"are {_dimensions(shapes['test'])} (channels, height, width)"
        raise _wrong(path, "test_images", found, f"{_dimensions(shapes['train'])} as the training images")
    return shapes["train"]


def _found(header: Header) -> str:
    kind = "Python objects, which are never unpickled" if header.dtype.hasobject else str(header.dtype)
    return f"has shape {list(header.shape)} and holds {kind}".replace(", ", ",", len(header.shape) - 1)


def _dimensions(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _channels_axis(shape: tuple[int, ...]) -> int | None:
    """The axis of the channels, 0 if there is none; None: not the shape of images."""
    for axis, sides in ((3, shape[1:3]), (1, shape[2:])):
        if len(shape) == 4 and shape[axis] in (1, 3) and min(sides) >= SMALLEST_SIDE:
            return axis
    return 0 if len(shape) == 3 and min(shape[1:]) >= SMALLEST_SIDE else None


def _image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    axis = _channels_axis(shape)
    if axis == 0:
        return 1, shape[1], shape[2]
    return (shape[3], shape[1], shape[2]) if axis == 3 else (shape[1], shape[2], shape[3])


def _check_labels(path: str, train: np.ndarray, test: np.ndarray) -> int:
    """Check that the labels are 0..K-1; returns K."""
    labels = np.unique(train)
    if len(labels) < 2:
        raise _wrong(path, "train_labels", f"holds one class only, {labels[0]}", "at least two")
    if labels[0] != 0 or labels[-1] != len(labels) - 1:
        found = f"holds {len(labels)} different labels from {labels[0]} to {labels[-1]}"
        raise _wrong(path, "train_labels", found, f"all of 0..{len(labels) - 1}, without a gap")
    strange = np.setdiff1d(test, labels)
    if len(strange):
        found = f"holds the label {strange[0]}, which train_labels does not hold"
        raise _wrong(path, "test_labels", found, f"labels in 0..{len(labels) - 1}")
    return len(labels)


def _pixels(path: str, name: str, images: np.ndarray) -> np.ndarray:
    if images.dtype != np.uint8:
        if not np.isfinite(images).all():
            raise _wrong(path, name, f"holds {np.sum(~np.isfinite(images))} values that are NaN or infinite", "none")
        if images.min() < 0 or images.max() > 1:
            found = f"holds floats from {images.min():g} to {images.max():g}"
            raise _wrong(path, name, found, "floats in 0..1, or uint8 in 0..255")
        images = np.rint(images.astype(np.float64) * 255).astype(np.uint8)
    axis = _channels_axis(images.shape)
    if axis == 0:
        return images[:, None]
    return np.ascontiguousarray(np.moveaxis(images, 3, 1)) if axis == 3 else images
