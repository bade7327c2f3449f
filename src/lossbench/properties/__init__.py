"""What a loss is as a function of logits: properties and faults, found by computation."""
