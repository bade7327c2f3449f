"""The paper's tables as cells, and the runs that fill each cell.

A table is a list of cells, a cell a list of configs that differ in their seed alone. The sweep takes the configs, the
report the cells, so no other run can enter a table.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import product

from lossbench.config.options import DatasetConfig, LossConfig, ModelConfig
from lossbench.config.registry import LABELS
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
from lossbench.studies import cells as studies
from lossbench.studies.aaai20 import paper
from lossbench.studies.aaai20.schedule import paper_schedule
from lossbench.studies.cells import Cell

TABLES = (3, 4, 5)
SEEDS = {"paper": {3: 5, 4: 3, 5: 5}, "quick": {3: 2, 4: 2, 5: 2}}
"""Runs a cell, unless asked otherwise."""

LITERAL_SEEDS = {"paper": 3, "quick": 2}
"""Likewise, with the head as printed."""

LOSSES: tuple[LossConfig, ...] = (Lgl(), Sml(), LglInr())
"""The paper's, as they are read here."""

LOSS_LABELS = ("LGL", "SML", "LGL-INR")
"""The same, as tables write them."""

LITERAL_HEAD = "CNN2C (800-10)"


def cell_of(loss: LossConfig, dataset: DatasetConfig, model: ModelConfig, schedule: Schedule, num_seeds: int) -> Cell:
    """A cell that no table has: another reading or schedule of a network, beside the number that it is a reading of."""
    cell = studies.cell_of(loss, dataset, model, schedule, num_seeds)
    network, label = cell.rows
    if dataset.name == "cifar10":
        return replace(cell, table=4, rows=(label,), column=network, paper=paper_numbers()[4, label, network])
    return replace(cell, table=3, paper=paper_numbers()[3, cell.row, cell.column])


def cells(table: int, profile: str, seeds: int | None = None, runtime: Runtime | None = None) -> list[Cell]:
    """The cells of a table, row by row.

    Args:
        table: 3, 4 or 5.
        profile: "paper" or "quick".
        seeds: runs a cell; None: the profile's number.
        runtime: how the runs are to be done.
    """
    found = []
    for dataset, model, loss in _GRIDS[table](profile):
        schedule = _schedule(profile, dataset, model)
        literal = isinstance(model, Cnn2c) and model.head is Head.direct
        num_seeds = seeds or (LITERAL_SEEDS[profile] if literal else SEEDS[profile][table])
        made_for = replace(runtime or Runtime(), experiment=f"table{table}", profile=profile, num_seeds=num_seeds)
        configs = tuple(Config(dataset, model, loss, schedule, seed, made_for) for seed in range(num_seeds))
        network = LABELS[model.name]
        rows, column = _place(table, profile, dataset, LITERAL_HEAD if literal else network, loss)
        # The literal head is a second reading of the same printed numbers.
        printed_rows, _ = _place(table, profile, dataset, network, loss)
        paper = paper_numbers().get((table, " ".join(printed_rows), column))
        found.append(Cell(table, rows, column, paper if profile == "paper" else None, configs))
    return found


def configs(tables: Iterable[int], profile: str, seeds: int | None, runtime: Runtime) -> list[Config]:
    """All runs of some tables, each once, all cells' first seeds before any second."""
    unique: dict[str, Config] = {}
    for cell in (cell for table in tables for cell in cells(table, profile, seeds, runtime)):
        for config in cell.configs:
            unique.setdefault(run_id(config), config)
    return sorted(unique.values(), key=lambda config: config.seed)


def in_words(tables: Iterable[int], profile: str, seeds: int | None) -> dict[str, str]:
    """What the terminal calls each run of some tables, by name: its first table, its place there, its seed."""
    found: dict[str, str] = {}
    for cell in (cell for table in tables for cell in cells(table, profile, seeds)):
        loss = cell.config.loss
        rows = {4: f"{LABELS[cell.config.model.name]} {cell.loss}"}
        if isinstance(loss, LglInr):
            rows[5] = f"beta {loss.beta:g}"
        place = f"Table {cell.table}, {rows.get(cell.table, cell.row)}"
        place += f", {cell.dataset}" if profile == "paper" else ""
        for config in cell.configs:
            found.setdefault(run_id(config), f"{place}, seed {config.seed}")
    return found


def figure_cells(profile: str, seeds: int | None = None) -> list[Cell]:
    """The cells of Table 3 behind Figures 1 and 2: CNN2C with each loss."""
    return [cell for cell in cells(3, profile, seeds) if cell.config.model == Cnn2c()]


@cache
def paper_numbers() -> dict[tuple[int, str, str], float]:
    """The paper's numbers in percent, by table, row and column."""
    return {
        (int(line["table"]), line["row"], line["column"]): float(line["value"]) for line in paper.lines("numbers.csv")
    }


@cache
def paper_confusions() -> dict[str, dict[tuple[int, int], int]]:
    """Counts that the paper's text gives for Figure 1: by name of the loss, then by (true class, predicted class)."""
    names = {LABELS[loss.name]: loss.name for loss in LOSSES}
    found: dict[str, dict[tuple[int, int], int]] = {}
    for line in paper.lines("figure1.csv"):
        found.setdefault(names[line["loss"]], {})[int(line["true"]), int(line["predicted"])] = int(line["count"])
    return found


def _gray(profile: str) -> list[DatasetConfig]:
    return [MnistType("mnist"), MnistType("fmnist"), MnistType("kmnist")] if profile == "paper" else [Digits()]


Point = tuple[DatasetConfig, ModelConfig, LossConfig]


def _table3(profile: str) -> Iterator[Point]:
    for model, loss, dataset in product((Cnn2c(), Cnn5c(), Cnn2c(head=Head.direct)), LOSSES, _gray(profile)):
        costly = profile == "quick" and isinstance(model, Cnn5c)
        yield replace(dataset, num_train=256) if costly else dataset, model, loss


def _table4(profile: str) -> Iterator[Point]:
    models = (MobileNetV2(), ResNet18())
    if profile == "paper":
        yield from ((Cifar10(), model, loss) for loss, model in product(LOSSES, models))
    else:
        digits = Digits(image_shape=[3, 16, 16], augment=True, crop_padding=2)
        yield from ((digits, model, loss) for model, loss in product(models, LOSSES))


def _table5(profile: str) -> Iterator[Point]:
    for beta in (1.0, 2.0, 4.0):
        yield MnistType("kmnist") if profile == "paper" else Digits(), Cnn2c(), LglInr(beta=beta)


_GRIDS = {3: _table3, 4: _table4, 5: _table5}


def _schedule(profile: str, dataset: DatasetConfig, model: ModelConfig) -> Schedule:
    if profile == "paper":
        return paper_schedule(dataset.name)
    if isinstance(model, (MobileNetV2, ResNet18)):
        epochs = 2 if isinstance(model, MobileNetV2) else 1
        return replace(paper_schedule("cifar10"), epochs=epochs, batch_size=16, lr=0.01, milestones=[])
    return replace(paper_schedule(dataset.name), epochs=2 if isinstance(model, Cnn5c) else 3, batch_size=8)


def _place(
    table: int, profile: str, dataset: DatasetConfig, network: str, loss: LossConfig
) -> tuple[tuple[str, ...], str]:
    """Row and column of a cell; the quick profile has the single column digits."""
    if table == 5:
        assert isinstance(loss, LglInr)
        return (("Accuracy",), f"{loss.beta:g}") if profile == "paper" else ((f"beta {loss.beta:g}",), "digits")
    if table == 4 and profile == "paper":
        return (LABELS[loss.name],), network
    return (network, LABELS[loss.name]), LABELS[dataset.name]
