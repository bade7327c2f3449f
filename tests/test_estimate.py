"""Estimates of the time of a run: the nearest measured runs, the work that is counted, and GPUs."""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from made_runs import result

from lossbench.cli.hydra_main import composed_config
from lossbench.config.run import Config, Precision
from lossbench.losses.nce import Nce
from lossbench.runs.records import Record
from lossbench.sweep import estimate as module
from lossbench.sweep.cost import flops, work, work_of_steps
from lossbench.sweep.estimate import COUNTED, LOSS, NETWORK, PRECISION, SAME, Estimates, Place, place_of
from lossbench.sweep.estimate_check import errors
from lossbench.sweep.machines import CORE, GPUS, gpu_named

NAME = "a processor"
HERE = Place(CORE, NAME)


def config(*words: str) -> Config:
    return composed_config(words, {})


def measured(wall_s: float, *words: str, **changes: Any) -> dict[str, Any]:
    return result(config(*words), wall_s=wall_s, **changes)


def counted(*words: str, threads: int = 1) -> float:
    return Estimates([]).estimate(config(*words), HERE, threads).seconds


DIGITS, MNIST = "dataset=digits", "dataset=mnist"


def test_the_nearest_measured_runs_count() -> None:
    ratios = {SAME: 2.0, LOSS: 3.0, NETWORK: 5.0, PRECISION: 7.0}
    kinds = {
        SAME: (DIGITS, "loss=sml"),
        LOSS: (MNIST, "loss=sml"),
        NETWORK: (MNIST, "loss=lgl"),
        PRECISION: (MNIST, "model=cnn5c", "loss=lgl"),
    }
    runs = {level: measured(ratios[level] * counted(*words), *words) for level, words in kinds.items()}
    asked = config(DIGITS, "loss=sml")
    plain = counted(DIGITS, "loss=sml")
    for level in kinds:
        found = Estimates(runs.values()).estimate(asked, HERE)
        assert (found.level, found.num_runs, found.is_other_machine) == (level, 1, False)
        assert found.seconds == pytest.approx(ratios[level] * plain)
        del runs[level]
    found = Estimates([]).estimate(asked, HERE)
    assert (found.level, found.num_runs, found.seconds) == (COUNTED, 0, plain)


def test_a_run_of_more_epochs_and_samples_takes_longer_in_proportion() -> None:
    known = Estimates([measured(1000.0, MNIST, "schedule.epochs=20")])
    first = known.seconds(config(MNIST, "schedule.epochs=20"))
    assert first == pytest.approx(1000.0)
    assert known.seconds(config(MNIST, "schedule.epochs=40")) == pytest.approx(2000.0, rel=0.01)
    half = known.seconds(config(MNIST, "schedule.epochs=20", "dataset.num_train=30000"))
    assert 500 < half < 650  # as many test images


def test_runs_of_the_own_processor_come_first_and_others_are_named() -> None:
    runs = [measured(100.0, DIGITS), measured(900.0, DIGITS, "seed=1", device_name="another")]
    found = Estimates(runs).estimate(config(DIGITS), HERE)
    assert (found.seconds, found.is_other_machine, found.factor) == (pytest.approx(100.0), False, SAME.factor)
    found = Estimates(runs[1:]).estimate(config(DIGITS), HERE)
    assert (found.seconds, found.is_other_machine, found.factor) == (pytest.approx(900.0), True, 3.0)


def test_damaged_and_unknown_runs_are_left_out() -> None:
    runs = [measured(100.0, DIGITS)]
    runs += [measured(value, DIGITS, f"seed={seed}") for seed, value in enumerate((None, "long", -1.0, True), 1)]  # type: ignore[arg-type]
    unknown = measured(900.0, DIGITS, "seed=9")
    unknown["config"]["loss"] = {"name": "sml", "temperature": 3.0}
    assert Estimates([*runs, unknown]).seconds(config(DIGITS)) == pytest.approx(
        Estimates(runs[:1]).seconds(config(DIGITS))
    )


def test_threads_shorten_the_layers_alone() -> None:
    one, two, many = (counted(MNIST, threads=threads) for threads in (1, 2, 64))
    assert 1.5 < one / two < 1.9
    assert 4 < one / many < 12
    assert Estimates([measured(two, MNIST, num_threads=2)]).estimate(config(MNIST), HERE).seconds == pytest.approx(one)


def test_sampled_classes_and_evaluations_are_counted() -> None:
    words = ("dataset=words", "model=word2next")
    every, few = work(config(*words, "loss=sml")), work(config(*words, "loss=nce"))
    assert few.flops < every.flops / 2
    assert few.loss_bytes < every.loss_bytes / 2
    assert Nce(num_sampled=100).num_columns(9580, 64, 512) == 612
    plain, tested = work(config(MNIST)), work(config(MNIST, "schedule.evaluate_every_steps=100"))
    steps = plain.steps
    assert steps == 20 * 938
    added = tested.flops - plain.flops
    forward = (plain.flops - work_of_steps(config(MNIST), steps, 20 * 60_000).flops) / (20 * 10_000 + 60_000)
    assert added == pytest.approx(steps // 100 * 10_000 * forward)
    assert plain.flops == pytest.approx(flops(config(MNIST)))


def test_a_gpu_is_counted_from_its_data_sheet_until_a_run_is_measured_on_one() -> None:
    asked = config(MNIST)
    on_h100, on_a100 = place_of("h100"), place_of("a100")
    known = Estimates([measured(1000.0, MNIST)])  # on a processor
    found = known.estimate(asked, on_h100)
    assert (found.level, found.num_runs, found.factor) == (COUNTED, 0, 3.0)
    assert 3 < found.seconds < 60  # 18,760 steps
    assert known.estimate(asked, on_a100).seconds > found.seconds
    assert known.seconds(asked, "cuda") == known.estimate(asked, on_a100).seconds
    gpu = {"device": "cuda", "device_name": "NVIDIA H100 80GB HBM3"}
    known = Estimates([measured(1000.0, MNIST), measured(2 * found.seconds, MNIST, "seed=3", **gpu)])
    again = known.estimate(asked, on_h100)
    assert (again.level, again.num_runs, again.is_other_machine) == (SAME, 1, False)
    assert again.seconds == pytest.approx(2 * found.seconds)
    other = known.estimate(asked, on_a100)
    assert other.is_other_machine
    assert other.seconds == pytest.approx(2 * Estimates([]).estimate(asked, on_a100).seconds)
    assert known.seconds(asked) == pytest.approx(1000.0)  # the processor's own


def test_precision_and_sharing_change_a_gpus_time() -> None:
    def seconds(*words: str, at_once: int = 1) -> float:
        return Estimates([]).estimate(config(MNIST, "model=cnn5c", *words), place_of("h100"), 1, at_once).seconds

    assert seconds("schedule.precision=bf16") < seconds("schedule.precision=tf32") < seconds()
    assert seconds() < seconds(at_once=2) < 2 * seconds()


def test_names_of_devices() -> None:
    names = {"NVIDIA H100 PCIe": "h100", "NVIDIA A100-SXM4-40GB": "a100", "NVIDIA A10G": "a10", "NVIDIA L40S": "l40s"}
    names |= {"NVIDIA L4": "l4", "NVIDIA GeForce RTX 4090": "rtx4090", "Tesla T4": "t4", "Tesla V100-SXM2-16GB": "v100"}
    for name, word in names.items():
        assert gpu_named(name) is GPUS[word], name
    assert gpu_named("NVIDIA GeForce GTX 1080") is None
    with pytest.raises(ValueError, match="there is no device h1000, only cpu, cuda, h200"):
        place_of("h1000")


def test_a_step_measured_now_comes_before_all(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = config(DIGITS)
    place = replace(HERE, probed={module.probe_key(asked): 4.0})
    found = Estimates([measured(1000.0, DIGITS)]).estimate(asked, place)
    assert found.level is module.PROBED
    assert found.seconds == pytest.approx(4 * counted(DIGITS))
    assert Estimates([]).estimate(config(DIGITS, "loss=lgl"), place).level is COUNTED


def test_errors_are_those_of_runs_that_were_left_out() -> None:
    runs = [measured(2 * counted(DIGITS), DIGITS, f"seed={seed}") for seed in range(3)]
    runs += [measured(6 * counted(MNIST), MNIST), measured(6 * counted(MNIST, "model=cnn5c"), MNIST, "model=cnn5c")]
    own, kind, network = errors(runs)
    assert (own.num_runs, own.num_kinds, own.left_out) == (5, 3, "the run")
    assert own.median == pytest.approx(1.0)  # of the three
    assert own.most == pytest.approx(3.0)  # MNIST from digits
    assert kind.median == pytest.approx(3.0)
    assert kind.bias == pytest.approx(1 / 3)  # digits from MNIST, three times
    assert network.most == pytest.approx(3.0)


@pytest.mark.parametrize("name", ["gradient_trace", "class_trace"])
def test_a_trace_is_counted_where_it_costs(name: str) -> None:
    plain = config(DIGITS)
    traced = replace(plain, runtime=replace(plain.runtime, **{name: True}))
    ratio = Estimates([]).seconds(traced) / Estimates([]).seconds(plain)
    assert (ratio > 1.5) == (name == "gradient_trace")


def test_records_are_taken_as_they_are_read(tmp_path: Path) -> None:
    fields: Mapping[str, Any] = measured(100.0, DIGITS)
    known = Estimates.from_records([Record(fields, tmp_path / "arrays.npz")])
    assert known.seconds(config(DIGITS)) == pytest.approx(100.0)
    assert asdict(config(DIGITS))["schedule"]["precision"] == Precision.fp32
    assert math.isfinite(known.seconds(config("dataset=cifar10", "model=resnet18"), "h200"))
