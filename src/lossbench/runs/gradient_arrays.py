"""Names of the arrays of a gradient trace, and the bins of p_y in them; docs/files.md describes them."""

P_EDGES = (1e-6, 1e-4, 1e-2, 0.1, 0.5, 0.9, 0.99)
"""Between the bins of p_y: the softmax of the logits as they are read, at the image's class."""

STEPS, COUNTS, NORMS, ZEROS, SPECTRUM, SPECTRUM_STEPS = (
    f"gradient_trace_{name}" for name in ("steps", "counts", "norms", "zeros", "spectrum", "spectrum_steps")
)
"""Names of its arrays."""
