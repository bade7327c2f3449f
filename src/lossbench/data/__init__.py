"""Data sets: published files, a user's own, subsets, batches on the device."""
