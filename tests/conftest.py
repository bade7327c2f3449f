"""One thread: on tensors this small more threads only wait for each other, and the bits are those of one thread."""

import torch

torch.set_num_threads(1)
