"""The large networks on a CPU: which runs, and that they stand apart from the paper's tables."""

import math

import pytest
from blocks import table, text
from invented import Known, unknown

from lossbench.config.run import Config, Precision, Runtime, run_id
from lossbench.report.blocks import Table
from lossbench.studies.aaai20 import conditions, variants, without_gpu
from lossbench.studies.aaai20.grid import cells
from lossbench.studies.aaai20.sections.large_networks import on_a_cpu
from lossbench.studies.cells import Cell


def test_they_come_last_on_a_cpu_and_never_on_a_gpu() -> None:
    def names(has_gpu: bool) -> list[str]:
        return [name for name, _ in variants.plan(has_gpu, Runtime(), unknown)]

    own = [name for name, _ in without_gpu.blocks(Runtime())]
    assert names(False)[-len(own) :] == own
    curves = {name for name in own if name.startswith("learning rates")}  # which a GPU does as well, among its own
    assert set(own) & set(names(True)) == curves


def test_no_table_and_no_arm_has_a_run_of_those_apart() -> None:
    own = {run_id(config) for config in without_gpu.apart()}
    assert len(own) == 6 + 27 + 6
    tables = {run_id(cell_config) for cell in all_cells() for cell_config in cell.configs}
    planned = {run_id(c) for _, configs in conditions.reference_blocks(True, Runtime(), unknown) for c in configs}
    assert not own & (tables | planned)
    order = [(cell.dataset, cell.loss) for cell in without_gpu.cnn5c()]
    assert order[:3] == [("KMNIST", "SML"), ("KMNIST", "LGL-INR"), ("KMNIST", "LGL")]
    assert {cell.config.schedule.precision for cell in without_gpu.cnn5c()} == {Precision.bf16}
    both = without_gpu.agreement()
    assert {config.schedule.epochs for config in (*both.fp32.configs, *both.bf16.configs)} == {3}
    assert {config.dataset.num_train for config in without_gpu.cifar10().values()} == {12_500}


def all_cells() -> list[Cell]:
    return [cell for table in (3, 4, 5) for cell in cells(table, "paper")]


def test_cnn5c_is_done_in_bf16_first_where_that_is_faster_and_then_fills_table_3() -> None:
    def planned(is_bf16_faster: bool) -> dict[str, list[Config]]:
        plan = variants.plan(False, Runtime(), unknown, is_bf16_faster)
        return {name: configs for name, configs in plan if name.startswith("CNN5C in ")}

    names = [f"CNN5C in fp32 on {dataset}" for dataset in ("KMNIST", "FMNIST", "MNIST")]
    assert list(planned(False)) == names
    both = planned(True)
    assert list(both) == ["CNN5C in bf16", *names]
    assert [(config.seed, config.dataset.name) for config in both["CNN5C in bf16"]][:4] == [
        *[(0, "kmnist")] * 3,
        (0, "fmnist"),
    ]
    assert {run_id(config) for config in both["CNN5C in bf16"]} == {
        run_id(config) for cell in without_gpu.cnn5c() for config in cell.configs
    }
    table3 = {run_id(config) for cell in all_cells() if cell.rows[0] == "CNN5C" for config in cell.configs}
    assert {run_id(config) for name in names for config in both[name]} == table3
    assert len(table3) == 45


def test_the_learning_rates_of_cnn5c_come_last() -> None:
    *_, (name, configs), _, _ = without_gpu.blocks(Runtime(), accuracy=unknown)
    assert name == "learning rates of CNN5C, on validation images"
    assert {(config.dataset.name, config.dataset.num_validation, config.seed) for config in configs} == {
        ("kmnist", 6000, 1000)
    }


def test_in_fp32_a_run_of_cnn5c_has_two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    def parallel(runtime: Runtime) -> dict[bool, set[int | str]]:
        found: dict[bool, set[int | str]] = {}
        for name, configs in without_gpu.blocks(runtime):
            wide = name.startswith(("CNN5C in fp32", "learning rates of CNN5C"))
            found.setdefault(wide, set()).update(config.runtime.parallel for config in configs)
        return found

    for num_cores, wanted in ((1, 1), (2, 1), (3, 1), (4, 2), (64, 32)):
        monkeypatch.setattr(without_gpu, "num_cores", lambda known=num_cores: known)
        assert parallel(Runtime()) == {False: {"auto"}, True: {wanted}}
    assert parallel(Runtime(parallel=5)) == {False: {5}, True: {5}}
    assert parallel(Runtime(num_threads=1)) == {False: {"auto"}, True: {"auto"}}


def test_agreement_is_judged_by_the_seeds() -> None:
    def said(shift: float, wobble: float, num_seeds: int = 3) -> str:
        results, both = Known(), without_gpu.agreement()
        pairs = zip(both.fp32.configs[:num_seeds], both.bf16.configs[:num_seeds], strict=True)
        for seed, (fp32, bf16) in enumerate(pairs):
            level = 0.97 + 0.004 * (seed - 1)
            results.add(fp32, level, precision="fp32", device_name="One")
            results.add(bf16, level + shift + wobble * (seed - 1), precision="bf16", device_name=f"{seed}")
        return text(on_a_cpu(results))

    assert said(0.0005, 0.001).startswith("bf16 and fp32 are equivalent within ±0.25 points")
    assert said(0.001, 0.0001).startswith("bf16 and fp32 are equivalent")  # always there, and small
    assert said(0.001, 0.002).startswith("bf16 and fp32 are not shown to be equivalent")  # its interval is too wide
    assert said(0.007, 0.0001).startswith("bf16 and fp32 are not shown to be equivalent")
    assert "; on 0, 1, 2 and One; pairs can mix these, so " in said(0.0005, 0.001)
    assert "bf16 - fp32 +0.05 points (90 % interval -0.12 to +0.22, n=3)" in said(0.0005, 0.001)
    assert said(0.0005, 0.001, 2) == (
        "Whether bf16 and fp32 agree is open: 2 of 3 pairs of runs, bf16 - fp32 -0.05 and +0.05 points."
    )
    assert text(on_a_cpu(Known())).startswith("Whether bf16 and fp32 agree is open: 0 of 3 pairs")


def test_the_tables_tell_the_paper_and_what_is_missing() -> None:
    results = Known()
    results.add(without_gpu.cnn5c()[0].config, 0.98765, precision="bf16", versions={"torch": "9.8"})
    results.add(without_gpu.cnn5c()[1].config, math.nan, precision="bf16", versions={"torch": "9.8"})
    results.add(without_gpu.cnn5c(Precision.fp32)[0].config, 0.5, precision="fp32", versions={"torch": "9.7"})
    results.add(without_gpu.cnn5c(Precision.fp32)[5].config, 0.25, precision="fp32", versions={"torch": "9.7"})
    results.add(without_gpu.cifar10()["ResNet-18", "LGL"], math.nan, versions={"torch": "9.9"})
    blocks = on_a_cpu(results)
    captions = [block.caption for block in blocks if isinstance(block, Table)]
    assert captions[0].endswith(
        " the runs in bf16 are description only. Runs in bf16 and fp32 on cpu, torch 9.7 and 9.8."
    )
    assert captions[1].endswith("test accuracy (%), n=1. Runs in fp32 on cpu, torch 9.9.")
    whole, begun = (table(blocks, index) for index in (0, 1))
    assert (
        whole.loc["KMNIST"]["SML"]
        == f"98.77 (n=1) in bf16, 50.00 (n=1) in fp32 (paper {without_gpu.cnn5c()[0].paper:.2f})"
    )
    assert whole.loc["KMNIST"]["LGL-INR"].startswith("1 diverged in bf16 (paper ")
    assert whole.loc["MNIST"]["LGL"].startswith("missing (paper ")
    assert whole.loc["FMNIST"]["LGL"].startswith("25.00 (n=1) in fp32 (paper ")
    assert begun.loc["ResNet-18"]["LGL"] == "diverged"
    assert begun.loc["MobileNetV2"]["SML"] == "missing"
