"""Computes the layers of the networks for Table 2: python tools/write_networks.py.

Writes src/lossbench/studies/aaai20/paper/networks.csv, from which the report reads them without torch.
"""

import csv
from pathlib import Path

import lossbench
from lossbench.models.build import describe
from lossbench.models.cnn2c import Cnn2c, Head
from lossbench.models.cnn5c import Cnn5c
from lossbench.models.mobilenetv2 import MobileNetV2
from lossbench.models.resnet18 import ResNet18
from lossbench.studies.aaai20.grid import LITERAL_HEAD

NETWORKS = {
    "CNN2C": (Cnn2c(), (1, 28, 28)),
    LITERAL_HEAD: (Cnn2c(head=Head.direct), (1, 28, 28)),
    "CNN5C": (Cnn5c(), (1, 28, 28)),
    "MobileNetV2": (MobileNetV2(), (3, 32, 32)),
    "ResNet-18": (ResNet18(), (3, 32, 32)),
}


def rows() -> list[list[str]]:
    """Network, layer, output shape and number of parameters for each layer."""
    return [
        [network, layer.text, " x ".join(map(str, layer.shape)), str(layer.num_parameters)]
        for network, (config, shape) in NETWORKS.items()
        for layer in describe(config, shape, 10)
    ]


if __name__ == "__main__":
    path = Path(lossbench.__file__).parent / "studies" / "aaai20" / "paper" / "networks.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["network", "layer", "output", "parameters"])
        writer.writerows(rows())
