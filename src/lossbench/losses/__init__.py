"""Losses: one file each, with options and a pure function of logits and target."""
