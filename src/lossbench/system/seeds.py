"""Random generators: every draw of a run depends on (seed, epoch, purpose) alone, and is made on the CPU."""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derived_seed(seed: int, epoch: int, purpose: str) -> int:
    """A different seed in 0..2**63-1 for each seed, epoch and purpose."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, epoch: int, purpose: str) -> "torch.Generator":
    """A CPU generator for one purpose in one epoch; the same seed gives the same draws for every loss and device."""
    import torch

    return torch.Generator().manual_seed(derived_seed(seed, epoch, purpose))
