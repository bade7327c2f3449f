"""One thread: on tensors this small more threads only wait for each other, and the bits are those of one thread.

The property tests try the same examples every time, and keep none.
"""

import torch
from hypothesis import Phase, settings

torch.set_num_threads(1)
settings.register_profile(
    "same",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=100,
    report_multiple_bugs=False,
    phases=(Phase.explicit, Phase.generate),  # add Phase.shrink to have a counterexample made small
)
settings.load_profile("same")
