"""Every draw of a run is a function of (seed, epoch, purpose) alone, made on the CPU."""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derived_seed(seed: int, epoch: int, purpose: str) -> int:
    """A seed in 0..2**63-1 of its own for each seed, epoch and purpose."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, epoch: int, purpose: str) -> "torch.Generator":
    """A CPU generator for one purpose in one epoch; the same seed gives the same draws for every loss and device."""
    import torch

    return torch.Generator().manual_seed(derived_seed(seed, epoch, purpose))
