"""The large networks on a CPU: which runs, and that they stand apart from the paper's tables."""

import math

import pytest
from blocks import table, text
from invented import Known, unknown

from lossbench import arms, pilots, studies
from lossbench.arms import Accuracy
from lossbench.choices import Precision
from lossbench.config import Config, Runtime, run_id
from lossbench.experiments import cells
from lossbench.report import beside_the_paper
from lossbench.report.large import without_gpu
from lossbench.report.page import Table


def test_they_come_last_on_a_cpu_and_never_on_a_gpu() -> None:
    def names(has_gpu: bool) -> list[str]:
        return [name for name, _ in studies.plan(has_gpu, Runtime(), unknown)]

    own = [name for name, _ in pilots.blocks(Runtime())]
    assert names(False)[-3:] == own
    assert not set(own) & set(names(True))


def test_no_table_and_no_arm_has_a_run_of_them() -> None:
    own = {run_id(config) for _, configs in pilots.blocks(Runtime()) for config in configs}
    assert len(own) == 6 + 9 + 6
    tables = {run_id(config) for table in (3, 4, 5) for cell in cells(table, "paper") for config in cell.configs}
    planned = {run_id(c) for _, configs in arms.reference_blocks(True, Runtime(), unknown) for c in configs}
    assert not own & (tables | planned)
    order = [(cell.dataset, cell.loss) for cell in pilots.cnn5c()]
    assert order[:3] == [("KMNIST", "SML"), ("KMNIST", "LGL-INR"), ("KMNIST", "LGL")]
    assert {cell.config.schedule.precision for cell in pilots.cnn5c()} == {Precision.bf16}
    both = pilots.agreement()
    assert {config.schedule.epochs for config in (*both.fp32.configs, *both.bf16.configs)} == {3}
    assert {config.dataset.num_train for config in pilots.cifar10().values()} == {12_500}


def test_where_bf16_is_not_faster_cnn5c_fills_table_3() -> None:
    def whole(is_bf16_faster: bool, accuracy: Accuracy) -> list[Config]:
        plan = studies.plan(False, Runtime(), accuracy, is_bf16_faster)
        (found,) = [configs for name, configs in plan if name.startswith("CNN5C in ")]
        return found

    table3 = {run_id(cell.configs[0]) for cell in cells(3, "paper") if cell.rows[0] == "CNN5C"}
    plain = whole(False, unknown)
    assert len(plain) == 9
    assert set(map(run_id, plain)) == table3
    own = [run_id(cell.config) for cell in pilots.cnn5c()]
    assert [run_id(config) for config in whole(True, unknown)] == own
    seen = {run_id(plain[0]), run_id(plain[4]), own[1]}  # what bf16 has done does not stand in for fp32

    def known(config: Config) -> float | None:
        return 0.9 if run_id(config) in seen else None

    assert [run_id(config) for config in whole(True, known)] == [own[i] for i in (1, 2, 3, 5, 6, 7, 8)]
    assert [run_id(config) for config in whole(False, known)] == [run_id(config) for config in plain]


def test_no_run_in_bf16_is_told_missing_whose_cell_has_its_run_in_fp32() -> None:
    def planned(num_known: int) -> dict[str, int]:
        results = Known()
        for cell in pilots.cnn5c(Precision.fp32)[:num_known]:
            results.add(cell.config, 0.9, precision="fp32")
        return {name: len(configs) for name, configs in beside_the_paper(results)}

    assert [planned(num).pop("CNN5C in bf16, one seed", None) for num in (0, 2, 9)] == [9, 7, None]
    assert planned(2)["LGL's factor"] == 45


def test_in_fp32_a_run_of_cnn5c_has_two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    def parallel(runtime: Runtime) -> dict[str, int | str]:
        blocks = pilots.blocks(runtime, is_bf16_faster=False)
        (found,) = {tuple((name, c.runtime.parallel) for name, configs in blocks for c in configs)}
        return dict(found)

    for num_cores, wanted in ((1, 1), (2, 1), (3, 1), (4, 2), (64, 32)):
        monkeypatch.setattr(pilots, "num_cores", lambda known=num_cores: known)
        given = parallel(Runtime())
        assert given.pop("CNN5C in fp32, one seed") == wanted
        assert set(given.values()) == {"auto"}
    assert set(parallel(Runtime(parallel=5)).values()) == {5}
    assert set(parallel(Runtime(num_threads=1)).values()) == {"auto"}


def test_agreement_is_judged_by_the_seeds() -> None:
    def said(shift: float, wobble: float, num_seeds: int = 3) -> str:
        results, both = Known(), pilots.agreement()
        pairs = zip(both.fp32.configs[:num_seeds], both.bf16.configs[:num_seeds], strict=True)
        for seed, (fp32, bf16) in enumerate(pairs):
            level = 0.97 + 0.004 * (seed - 1)
            results.add(fp32, level, precision="fp32", device_name="One")
            results.add(bf16, level + shift + wobble * (seed - 1), precision="bf16", device_name=f"{seed}")
        return text(without_gpu(results))

    assert said(0.0005, 0.001).startswith("bf16 and fp32 agree within seed noise")
    assert said(0.001, 0.0001).startswith("bf16 and fp32 do not agree")  # small beside the seeds, yet always there
    assert said(0.007, 0.0035).startswith("bf16 and fp32 do not agree")  # larger than the seeds scatter
    assert "; on 0, 1, 2 and One." in said(0.0005, 0.001)
    assert said(0.0005, 0.001, 2) == (
        "Whether bf16 does as fp32 is open: 2 of 3 pairs of runs, bf16 - fp32 -0.05 and +0.05 points."
    )
    assert text(without_gpu(Known())).startswith("Whether bf16 does as fp32 is open: 0 of 3 pairs")


def test_the_tables_tell_the_paper_and_what_is_missing() -> None:
    results = Known()
    results.add(pilots.cnn5c()[0].config, 0.98765, precision="bf16", versions={"torch": "9.8"})
    results.add(pilots.cnn5c()[1].config, math.nan, precision="bf16", versions={"torch": "9.8"})
    results.add(pilots.cnn5c(Precision.fp32)[0].config, 0.5, precision="fp32", versions={"torch": "9.7"})
    results.add(pilots.cnn5c(Precision.fp32)[5].config, 0.25, precision="fp32", versions={"torch": "9.7"})
    results.add(pilots.cifar10()["ResNet-18", "LGL"], math.nan, versions={"torch": "9.9"})
    blocks = without_gpu(results)
    captions = [block.caption for block in blocks if isinstance(block, Table)]
    assert captions[0].endswith(" of the paper's tables. Runs in bf16 and fp32 on cpu, torch 9.7 and 9.8.")
    assert captions[1].endswith("test accuracy (%), n=1. Runs in fp32 on cpu, torch 9.9.")
    whole, begun = (table(blocks, index) for index in (0, 1))
    assert whole.loc["KMNIST"]["SML"] == f"98.77 in bf16, 50.00 in fp32 (paper {pilots.cnn5c()[0].paper:.2f})"
    assert whole.loc["KMNIST"]["LGL-INR"].startswith("diverged in bf16 (paper ")
    assert whole.loc["MNIST"]["LGL"].startswith("missing (paper ")
    assert whole.loc["FMNIST"]["LGL"].startswith("25.00 in fp32 (paper ")
    assert begun.loc["ResNet-18"]["LGL"] == "diverged"
    assert begun.loc["MobileNetV2"]["SML"] == "missing"
