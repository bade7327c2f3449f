"""Losses: one file each, pure functions of logits and target."""
