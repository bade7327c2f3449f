"""TensorBoard's HParams table: one type per option, columns of all runs, sorting and filtering by any of them."""

import os
import re
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.context import RequestContext
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups
from torch.utils.tensorboard.writer import SummaryWriter

from lossbench.config.naming import changed
from lossbench.config.options import ClassWeights
from lossbench.config.run import Config, Schedule
from lossbench.data.digits import Digits
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c
from lossbench.training.tensorboard import HPARAMS, TensorBoard

ROOT = Path(__file__).parents[1]

LINE = {
    "epoch": 1,
    **dict.fromkeys(("train/loss", "train/accuracy", "test/loss", "test/accuracy", "time/images_per_s", "lr"), 0.5),
    "test/class_accuracy": [0.5, None],
}


def tracked(folder: Path, config: Config) -> None:
    tracker = TensorBoard(folder, [], {}, print)
    tracker.epoch(LINE, {})
    record = {"config": asdict(config), "test_accuracy": 0.9, "test_accuracy_best": 0.95, "wall_s": 3.0}
    tracker.finish(config, record, {"confusion_matrix": np.eye(2, dtype=np.int64)})


@pytest.fixture
def context(tmp_path: Path) -> Any:
    """Three runs of SML and two of LGL-INR; options that are None in some and numbers in others."""
    first = Config(Digits(), Cnn2c(), Sml(), Schedule(epochs=1))
    runs = [
        first,
        replace(first, seed=1, dataset=Digits(num_train=100)),
        replace(first, loss=Sml(class_weights=ClassWeights.inverse)),
        replace(first, loss=LglInr(beta=2.0)),
        replace(first, loss=LglInr(beta=4.0, eps=1e-7)),
    ]
    for number, config in enumerate(runs):
        tracked(tmp_path / f"run{number}", config)
    multiplexer = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(tmp_path))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(tmp_path))
    return backend_context.Context(base_plugin.TBContext(data_provider=provider))


def experiment(context: Any) -> Any:
    content = context.hparams_metadata(RequestContext(), "exp")
    return context.experiment_from_metadata(RequestContext(), "exp", True, content, [])


def test_every_option_of_every_run_has_a_column_of_one_type_and_what_varies_comes_first(context: Any) -> None:
    found = experiment(context)
    types = {info.name: info.type for info in found.hparam_infos}
    assert types["loss.beta"] == types["loss.eps"] == types["dataset.num_train"] == api_pb2.DATA_TYPE_FLOAT64
    assert types["loss.class_weights"] == types["loss"] == api_pb2.DATA_TYPE_STRING
    assert types["loss.detach_weights"] == types["dataset.augment"] == api_pb2.DATA_TYPE_FLOAT64  # torch's for a bool
    differing = [info.name for info in found.hparam_infos if info.differs]
    assert {"loss", "loss.beta", "seed"} <= set(differing)
    assert "schedule.lr" not in differing
    assert [info.name for info in found.hparam_infos][: len(differing)] == sorted(differing)
    assert [info.name.tag for info in found.metric_infos] == [
        "result/test_accuracy",
        "result/test_accuracy_best",
        "result/wall_s",
    ]


@pytest.mark.parametrize("option", ["loss.beta", "loss.eps", "dataset.num_train", "loss.class_weights", "loss", "seed"])
def test_the_table_sorts_and_filters_by_any_option(context: Any, option: str) -> None:
    kind = next(info.type for info in experiment(context).hparam_infos if info.name == option)
    for order in (api_pb2.ORDER_ASC, api_pb2.ORDER_DESC):
        column = api_pb2.ColParams(hparam=option, order=order)
        if kind == api_pb2.DATA_TYPE_FLOAT64:
            column.filter_interval.min_value, column.filter_interval.max_value = 0, 1e9
        else:
            column.filter_regexp = "."
        request = api_pb2.ListSessionGroupsRequest(
            start_index=0,
            slice_size=10,
            allowed_statuses=[api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_RUNNING],
            col_params=[column],
        )
        found = list_session_groups.Handler(RequestContext(), context, "exp", request).run()
        values = [group.hparams[option] for group in found.session_groups if option in group.hparams]
        numbers = [value.number_value if value.HasField("number_value") else value.string_value for value in values]
        assert numbers == sorted(numbers, reverse=order == api_pb2.ORDER_DESC)
        assert numbers


def listed(folder: Path) -> set[str]:
    """The runs that TensorBoard lists, without the rows of the HParams table."""
    multiplexer = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(folder))
    return {name for name in multiplexer.Runs() if not name.endswith(HPARAMS)}


def test_the_list_of_runs_says_what_is_not_the_default(tmp_path: Path) -> None:
    first = Config(Digits(), Cnn2c(), Sml(), Schedule())
    runs = [first, *(replace(first, loss=LglInr(beta=beta)) for beta in (2.0, 4.0))]
    for number, config in enumerate(runs):
        tracker = TensorBoard(tmp_path / f"run{number}", [], {}, print, words=changed(config))
        tracker.epoch(LINE, {})
    assert listed(tmp_path) == {"run0", "run1/beta 2", "run2/beta 4"}


def test_a_run_that_goes_on_is_listed_once(tmp_path: Path) -> None:
    TensorBoard(tmp_path / "run", [], {}, print).epoch(LINE, {})  # of an earlier version
    tracker = TensorBoard(tmp_path / "run", [LINE], {}, print, words="beta 4")
    tracker.epoch(LINE | {"epoch": 2}, {})
    assert listed(tmp_path) == {"run/beta 4"}
    found = EventAccumulator(str(tmp_path / "run" / "beta 4")).Reload()
    assert [event.step for event in found.Scalars("test/loss")] == [1, 2]


def test_make_tensorboard_shows_the_images_of_every_epoch(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    told = subprocess.run(
        ["make", "-n", "tensorboard"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    (sizes,) = re.findall(r"--samples_per_plugin (\S+)", told)
    guidance = {name: int(size) for name, _, size in (pair.partition("=") for pair in sizes.split(","))}
    writer = SummaryWriter(str(tmp_path))
    for epoch in range(30):
        writer.add_image("lgl_inr/class_weights", np.zeros((1, 4, 4)), epoch)
    writer.close()
    found = EventAccumulator(str(tmp_path), size_guidance=guidance).Reload()
    assert [image.step for image in found.Images("lgl_inr/class_weights")] == list(range(30))
