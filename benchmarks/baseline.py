"""The conventional training loop as in PyTorch's examples, with which lossbench is compared.

torchvision data sets with `ToTensor` and `Normalize` for every image, a `DataLoader`, the loss with Python loops over
the classes, `torch.optim.SGD`, and `loss.item()` in every step; network, batch size and hyper-parameters of a config.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torchvision import datasets, transforms
from torchvision.datasets import VisionDataset

from lossbench.config.options import LossConfig
from lossbench.config.run import Config
from lossbench.data.cifar10 import Cifar10
from lossbench.data.load import load_data
from lossbench.losses.build import build_loss
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.models.build import build_model
from lossbench.system.seeds import derived_seed


def looped_sml(logits: Tensor, target: Tensor) -> Tensor:
    """SML by PyTorch's own function."""
    return F.cross_entropy(logits, target)


def looped_lgl(logits: Tensor, target: Tensor) -> Tensor:
    """LGL with a loop over the classes."""
    terms = [F.binary_cross_entropy_with_logits(logits[:, k], (target == k).float()) for k in range(logits.shape[1])]
    return torch.stack(terms).mean()


def looped_lgl_inr(logits: Tensor, target: Tensor) -> Tensor:
    """LGL-INR with beta = 1 (Eq. 11), with loops over classifiers and classes."""
    probability = torch.sigmoid(logits)
    classes = [int(k) for k in target.unique()]
    loss = logits.new_zeros(())
    for k in range(logits.shape[1]):
        others = [j for j in classes if j != k]
        if k in classes:
            loss = loss - F.logsigmoid(logits[target == k, k]).mean()
        if others:
            weights = torch.softmax(torch.stack([probability[target == j, k].mean() for j in others]), dim=0)
            negatives = torch.stack([F.logsigmoid(-logits[target == j, k]).mean() for j in others])
            loss = loss - (weights * negatives).sum()
    return loss


LOOPED: dict[type[LossConfig], Callable[[Tensor, Tensor], Tensor]]
LOOPED = {Sml: looped_sml, Lgl: looped_lgl, LglInr: looped_lgl_inr}
"""Losses as a conventional loop has them, at their defaults."""


def conventional_loss(config: LossConfig, class_counts: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss as a conventional loop has it; the registered one where none is written here.

    Args:
        config: the loss and its options.
        class_counts: training images of each class, int64 [K].
    """
    if type(config) in LOOPED and config == type(config)():
        return LOOPED[type(config)]
    return build_loss(config, class_counts)


def dataset(config: Config) -> VisionDataset:
    """The training images as a torchvision data set, which returns them one at a time."""
    data = load_data(config.dataset, config.runtime, torch.device("cpu"))
    steps: list[Callable[[Any], Any]] = [transforms.ToTensor()]
    if isinstance(config.dataset, Cifar10):
        steps = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), *steps]
        found: Any = datasets.CIFAR10.__new__(datasets.CIFAR10)
        found.data, found.targets = data.train.images.permute(0, 2, 3, 1).numpy(), data.train.labels.tolist()
    else:
        found = datasets.MNIST.__new__(datasets.MNIST)
        found.data, found.targets = data.train.images[:, 0], data.train.labels
    std = 1 / (255 * data.scale.flatten())
    normalize = transforms.Normalize((-data.shift.flatten() * std).tolist(), std.tolist())
    VisionDataset.__init__(found, root="", transform=transforms.Compose([*steps, normalize]))
    return found


class Baseline:
    """A conventional run that is trained a number of steps at a time.

    Args:
        config: network, loss, batch size and SGD.
        num_workers: number of the DataLoader's workers.
        device: the device to train on.
        sampler: order of the images; None: shuffled.
    """

    def __init__(
        self, config: Config, num_workers: int, device: str = "cpu", sampler: Sampler[int] | None = None
    ) -> None:
        shape = (3, 32, 32) if isinstance(config.dataset, Cifar10) else (1, 28, 28)
        seed = derived_seed(config.seed, 0, "initial weights")
        self.device, schedule = device, config.schedule
        self.model = build_model(config.model, shape, 10, seed).to(device)
        images = dataset(config)
        counts = torch.bincount(torch.as_tensor(images.targets), minlength=10)
        self.loss = conventional_loss(config.loss, counts.to(device))
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), schedule.lr, schedule.momentum, weight_decay=schedule.weight_decay
        )
        self.loader = DataLoader(
            images,
            schedule.batch_size,
            shuffle=sampler is None,
            sampler=sampler,
            num_workers=num_workers,
            pin_memory=device != "cpu",
        )
        self._batches = self._forever()

    def _forever(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self.loader

    def steps(self, num: int) -> list[float]:
        """Train a number of batches; returns their losses."""
        self.model.train()
        losses = []
        for _ in range(num):
            images, target = next(self._batches)
            images, target = images.to(self.device), target.to(self.device)
            self.optimizer.zero_grad()
            loss = self.loss(self.model(images), target)
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        return losses
