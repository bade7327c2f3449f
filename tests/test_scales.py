"""The scale-matched conditions' factors, measured again."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lossbench.config.run import Runtime
from lossbench.data.digits import Digits
from lossbench.losses.sml import Sml
from lossbench.studies.aaai20.conditions import LARGE, PLACES, SCALES, Place, scale_probes
from lossbench.training.gradient_scale import mean_gradient_norm

FOLDERS = {"kmnist": "KMNIST", "fmnist": "FashionMNIST", "cifar10": "cifar-10-batches-py"}


@pytest.mark.parametrize(
    ("place", "num_batches"),
    [(PLACES[0], 30), (PLACES[1], 30), (LARGE[0], 3), pytest.param(LARGE[1], 2, marks=pytest.mark.long)],
    ids=str,
)
def test_the_factors_are_the_ratios_of_gradient_norms(place: Place, num_batches: int, tmp_path: Path) -> None:
    folder = FOLDERS[place.dataset]
    if not (Path(os.environ.get("LOSSBENCH_DATA", "data")) / folder).exists():
        pytest.skip(f"LOSSBENCH_DATA has no {folder}")
    probes = scale_probes(Runtime(device="cpu", output_dir=str(tmp_path), num_threads=1))
    norms = {loss: mean_gradient_norm(probes[place, loss], num_batches) for loss in ("lgl", "sml", "lgl_inr")}
    assert {probe.seed for probe in probes.values()} == {1000}
    measured = {"sml": norms["lgl_inr"] / norms["sml"], "lgl": norms["lgl_inr"] / norms["lgl"]}
    measured["lgl_inr"] = norms["sml"] / norms["lgl_inr"]
    assert measured == pytest.approx(SCALES[place], rel=0.1)
    (cache,) = (tmp_path / "cache").glob("*.npz")
    cache.unlink()  # it is large


def test_a_scaled_loss_pulls_as_much_harder(tmp_path: Path) -> None:
    (probe, *_) = scale_probes(Runtime(device="cpu", output_dir=str(tmp_path), num_threads=1)).values()
    plain = replace(probe, dataset=Digits(), loss=Sml())
    scaled = replace(plain, loss=Sml(scale=3.0))
    assert mean_gradient_norm(scaled, 4) == pytest.approx(3 * mean_gradient_norm(plain, 4), rel=1e-5)
