"""Writes the labels of the published data sets to src/lossbench/data/labels.npz: python tools/write_labels.py.

The data are read from LOSSBENCH_DATA or data/.
"""

from pathlib import Path

import numpy as np

import lossbench.data
from lossbench.config.run import Runtime
from lossbench.data.cifar10 import Cifar10
from lossbench.data.mnist_type import MnistType
from lossbench.data.prepared import prepare

if __name__ == "__main__":
    arrays: dict[str, np.ndarray] = {}
    for config in (MnistType("mnist"), MnistType("fmnist"), MnistType("kmnist"), Cifar10()):
        with np.load(prepare(config, Runtime())) as prepared:
            arrays[f"{config.name}_test"] = prepared["test_labels"].astype(np.uint8)
            arrays[f"{config.name}_train_counts"] = np.bincount(prepared["train_labels"])
        print(f"{config.name}: {len(arrays[f'{config.name}_test']):,} test images")
    path = Path(lossbench.data.__file__).with_name("labels.npz")
    np.savez_compressed(path, allow_pickle=False, **arrays)
    print(f"{path.name}: {path.stat().st_size:,} bytes")
