"""The tables' cells: which runs fill them, in which order they are done, and the paper's numbers beside them."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from lossbench import NUMERICS
from lossbench.config.run import Config, Runtime, Schedule, run_id
from lossbench.data.cifar10 import Cifar10
from lossbench.data.digits import Digits
from lossbench.data.mnist_type import MnistType
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c, Head
from lossbench.models.cnn5c import Cnn5c
from lossbench.models.mobilenetv2 import MobileNetV2
from lossbench.models.resnet18 import ResNet18
from lossbench.studies.aaai20 import grid
from lossbench.studies.aaai20.grid import LITERAL_HEAD, TABLES, cells, figure_cells, paper_confusions
from lossbench.studies.aaai20.schedule import paper_schedule
from lossbench.studies.cells import Cell, cell_key

PROFILES = ("paper", "quick")

PRINTED = {
    (3, "CNN2C LGL", "FMNIST"): 89.44,
    (3, "CNN2C SML", "MNIST"): 99.09,
    (3, "CNN2C LGL-INR", "KMNIST"): 96.43,
    (3, "CNN5C LGL", "KMNIST"): 96.35,
    (3, "CNN5C SML", "FMNIST"): 93.15,
    (3, "CNN5C LGL-INR", "MNIST"): 99.63,
    (3, "CNN2C (800-10) LGL", "FMNIST"): 89.44,
    (3, "CNN2C (800-10) LGL-INR", "KMNIST"): 96.43,
    (4, "LGL", "MobileNetV2"): 92.40,
    (4, "LGL", "ResNet-18"): 91.55,
    (4, "SML", "MobileNetV2"): 91.11,
    (4, "SML", "ResNet-18"): 91.32,
    (4, "LGL-INR", "MobileNetV2"): 93.34,
    (4, "LGL-INR", "ResNet-18"): 93.68,
    (5, "Accuracy", "1"): 96.43,
    (5, "Accuracy", "2"): 96.29,
    (5, "Accuracy", "4"): 96.43,
}


def by_place(table: int, profile: str) -> dict[tuple[str, str], Cell]:
    found = cells(table, profile)
    places = {(cell.row, cell.column): cell for cell in found}
    assert len(places) == len(found)
    return places


def parts(cell: Cell) -> tuple[Any, ...]:
    config = cell.config
    return config.dataset, config.model, config.loss, config.schedule


def test_the_papers_tables_have_their_cells() -> None:
    table3 = by_place(3, "paper")
    rows = [f"{network} {loss}" for network in ("CNN2C", "CNN5C", LITERAL_HEAD) for loss in ("LGL", "SML", "LGL-INR")]
    assert list(table3) == [(row, column) for row in rows for column in ("MNIST", "FMNIST", "KMNIST")]
    assert parts(table3["CNN2C LGL-INR", "KMNIST"]) == (MnistType("kmnist"), Cnn2c(), LglInr(), Schedule())
    assert parts(table3["CNN5C SML", "MNIST"]) == (MnistType("mnist"), Cnn5c(), Sml(), Schedule())
    literal = Cnn2c(head=Head.direct)
    assert parts(table3[f"{LITERAL_HEAD} LGL", "FMNIST"]) == (MnistType("fmnist"), literal, Lgl(), Schedule())
    table4 = by_place(4, "paper")
    networks = ("MobileNetV2", "ResNet-18")
    assert list(table4) == [(loss, network) for loss in ("LGL", "SML", "LGL-INR") for network in networks]
    cifar10 = paper_schedule("cifar10")
    assert parts(table4["LGL", "MobileNetV2"]) == (Cifar10(), MobileNetV2(), Lgl(), cifar10)
    assert parts(table4["LGL-INR", "ResNet-18"]) == (Cifar10(), ResNet18(), LglInr(), cifar10)
    table5 = by_place(5, "paper")
    assert list(table5) == [("Accuracy", "1"), ("Accuracy", "2"), ("Accuracy", "4")]
    assert parts(table5["Accuracy", "4"]) == (MnistType("kmnist"), Cnn2c(), LglInr(beta=4.0), Schedule())


def test_the_papers_numbers_stand_beside_the_cells() -> None:
    numbers = {(cell.table, cell.row, cell.column): cell.paper for table in TABLES for cell in cells(table, "paper")}
    assert len(numbers) == 27 + 6 + 3
    assert None not in numbers.values()
    assert {place: numbers[place] for place in PRINTED} == PRINTED


def test_every_number_of_the_paper_belongs_to_a_cell() -> None:
    places = {(cell.table, cell.row, cell.column) for table in TABLES for cell in cells(table, "paper")}
    assert set(grid.paper_numbers()) == {place for place in places if not place[1].startswith(LITERAL_HEAD)}
    assert paper_confusions() == {"sml": {(1, 1): 945, (0, 4): 18}, "lgl_inr": {(1, 1): 940, (0, 4): 6}}


def test_the_quick_profile_is_the_same_on_digits_and_short() -> None:
    assert [len(cells(table, "quick")) for table in TABLES] == [9, 6, 3]
    epochs = {"cnn2c": 3, "cnn5c": 2, "mobilenetv2": 2, "resnet18": 1}
    large = replace(paper_schedule("cifar10"), batch_size=16, lr=0.01, milestones=[])
    for cell in (cell for table in TABLES for cell in cells(table, "quick")):
        dataset, model, _, schedule = parts(cell)
        assert cell.column == "digits"
        assert cell.paper is None
        assert isinstance(dataset, Digits)
        if cell.table == 4:
            assert dataset == Digits(image_shape=[3, 16, 16], augment=True, crop_padding=2)
            assert schedule == replace(large, epochs=epochs[model.name])
        else:
            assert replace(dataset, num_train=None) == Digits()
            assert dataset.num_train is None or isinstance(model, Cnn5c)
            assert schedule == Schedule(epochs=epochs[model.name], batch_size=8)
    rows = {(network, loss) for network in ("MobileNetV2", "ResNet-18") for loss in ("LGL", "SML", "LGL-INR")}
    assert {cell.rows for cell in cells(4, "quick")} == rows
    assert [cell.row for cell in cells(5, "quick")] == ["beta 1", "beta 2", "beta 4"]


@pytest.mark.parametrize(("profile", "counts"), [("paper", [27, 6, 2]), ("quick", [9, 6, 2])])
def test_a_run_that_two_tables_show_is_done_once(profile: str, counts: list[int]) -> None:
    runtime = Runtime()
    ids = [run_id(config) for config in grid.configs(TABLES, profile, 1, runtime)]
    assert len(ids) == len(set(ids)) == sum(counts)
    assert len(grid.configs([3], profile, 1, runtime)) == counts[0]
    assert len(grid.configs([3, 4], profile, 1, runtime)) == counts[0] + counts[1]
    assert len(grid.configs([5], profile, 1, runtime)) == 3
    assert [run_id(config) for config in grid.configs(TABLES, profile, 4, runtime)][: len(ids)] == ids


@pytest.mark.parametrize(("profile", "seeds", "literal"), [("paper", (5, 3, 5), 3), ("quick", (2, 2, 2), 2)])
def test_seeds_are_as_many_as_asked_and_all_first_ones_come_first(
    profile: str, seeds: tuple[int, ...], literal: int
) -> None:
    for table, number in zip(TABLES, seeds, strict=True):
        for cell in cells(table, profile):
            assert len(cell.configs) == (literal if cell.rows[0] == LITERAL_HEAD else number)
    for table in TABLES:
        for cell in (*cells(table, profile, 7), *cells(table, profile, 1)):
            assert [config.seed for config in cell.configs] in (list(range(7)), [0])
            assert {run_id(replace(config, seed=0)) for config in cell.configs} == {cell.key}
    order = [config.seed for config in grid.configs(TABLES, profile, None, Runtime())]
    assert order == sorted(order)
    num_table3, num_table4 = len(cells(3, profile)), 6
    fewer = num_table3 // 3 * (seeds[0] - literal)
    assert len(order) == num_table3 * seeds[0] - fewer + num_table4 * seeds[1] + 2 * seeds[2]
    assert order.count(0) == num_table3 + num_table4 + 2


def record(config: Config) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(json.dumps({"config": asdict(config), "numerics": NUMERICS}))
    return fields


@pytest.mark.parametrize("profile", PROFILES)
def test_a_record_of_any_seed_fills_its_own_cells_and_no_others(profile: str) -> None:
    every = [cell for name in PROFILES for table in TABLES for cell in cells(table, name)]
    for cell in (cell for table in TABLES for cell in cells(table, profile)):
        same = [other for other in every if parts(other) == parts(cell)]
        for seed in (0, 3, 1000):
            key = cell_key(record(replace(cell.config, seed=seed, runtime=Runtime(device="cpu", output_dir="x"))))
            assert [other for other in every if other.key == key] == same
        assert cell in same
        assert [other.table for other in same] in ([cell.table], [3, 5])


def test_a_record_of_other_numerics_or_options_fills_no_cell() -> None:
    keys = {cell.key for profile in PROFILES for table in TABLES for cell in cells(table, profile)}
    config = cells(3, "paper")[0].config
    assert cell_key(record(config)) in keys
    assert cell_key(record(config) | {"numerics": NUMERICS + 1}) not in keys
    for other in (replace(config, loss=Lgl(scale=2.0)), replace(config, schedule=Schedule(epochs=19))):
        assert cell_key(record(other)) not in keys


@pytest.mark.parametrize("profile", PROFILES)
def test_table_5_shares_beta_1_with_table_3(profile: str) -> None:
    (shared,) = {cell.key for cell in cells(5, profile)} & {cell.key for cell in cells(3, profile)}
    beta_1 = cells(5, profile)[0]
    assert beta_1.key == shared
    assert beta_1.config.loss == LglInr(beta=1.0)
    column = "KMNIST" if profile == "paper" else "digits"
    assert by_place(3, profile)["CNN2C LGL-INR", column].key == shared


def test_what_a_run_was_made_for_is_noted_and_the_rest_of_the_runtime_kept() -> None:
    runtime = Runtime(device="cpu", output_dir="there", num_threads=2)
    for config in grid.configs([4], "quick", None, runtime):
        assert config.runtime == replace(runtime, experiment="table4", profile="quick", num_seeds=2)
    assert runtime.experiment is None


def test_the_figures_show_cnn2c_with_each_loss() -> None:
    paper, quick = figure_cells("paper"), figure_cells("quick")
    assert [(cell.loss, cell.dataset) for cell in quick] == [(loss, "digits") for loss in ("LGL", "SML", "LGL-INR")]
    assert len({(cell.loss, cell.dataset) for cell in paper}) == len(paper) == 9
    assert all(cell.config.model == Cnn2c() for cell in (*paper, *quick))
