"""What tells runs apart: differing options, short words, and the words of TensorBoard's folders."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from lossbench.config.naming import changed, differing, in_words, options_of, short, text_of, told_apart
from lossbench.config.options import LossConfig
from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.cifar10 import Cifar10
from lossbench.data.digits import Digits
from lossbench.data.npz import Npz
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c
from lossbench.models.cnn5c import Cnn5c

BASE = Config(Digits(), Cnn2c(), Sml(), Schedule())


def options(**changes: Any) -> dict[str, Any]:
    return options_of(asdict(replace(BASE, **changes)))


def test_options_have_full_names_and_no_runtime() -> None:
    known = options(loss=LglInr(beta=4.0), seed=2, runtime=Runtime(output_dir="elsewhere"))
    assert (known["dataset"], known["model"], known["loss"], known["loss.beta"]) == ("digits", "cnn2c", "lgl_inr", 4.0)
    assert known["seed"] == 2
    assert not any(key.startswith("runtime") or key.endswith((".name", ".path")) for key in known)


def test_what_differs_is_found_in_the_order_of_words() -> None:
    runs = [
        options(loss=LglInr(beta=1.0), seed=1),
        options(loss=LglInr(beta=4.0), schedule=Schedule(lr=0.1)),
        options(model=Cnn2c(init_seed=3), loss=LglInr(beta=1.0)),
    ]
    assert differing(runs) == ["model.init_seed", "loss.beta", "schedule.lr", "seed"]


def test_what_follows_from_a_name_is_left_out_and_what_two_losses_share_is_not() -> None:
    assert differing([options(loss=Sml()), options(loss=LglInr(beta=2.0))]) == ["loss"]
    assert differing([options(loss=Sml(scale=2.0)), options(loss=Lgl())]) == ["loss", "loss.scale"]
    assert differing([options(loss=Lgl()), options(loss=LglInr())]) == ["loss"]  # of other reductions by default
    assert differing([options(), options(dataset=Cifar10(), schedule=Schedule(epochs=100))]) == ["dataset"]
    two = [options(schedule=Schedule(lr=0.1)), options(), options(dataset=Cifar10())]
    assert differing(two) == ["dataset", "schedule.lr"]
    assert differing([options(model=Cnn2c()), options(model=Cnn5c())]) == ["model"]


def test_an_option_that_an_older_record_lacks_is_null() -> None:
    old = options()
    del old["loss.class_weights"]
    assert differing([old, options()]) == []


def test_an_edited_plugin_differs_and_one_plugin_among_other_losses_does_not() -> None:
    mine = {**options(), "loss": "mine", "plugins.loss": "a" * 64}
    assert differing([mine, options()]) == ["loss"]
    runs = [mine, mine | {"plugins.loss": "b" * 64}]
    assert differing(runs) == ["plugins.loss"]
    assert in_words(mine, ["plugins.loss"]) == "version aaaaaaaa"


def test_short_names_are_unique() -> None:
    keys = ["loss", "loss.beta", "model.scale", "loss.scale", "seed"]
    assert short(keys) == {
        "loss": "loss",
        "loss.beta": "beta",
        "model.scale": "model.scale",
        "loss.scale": "loss.scale",
        "seed": "seed",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (4.0, "4"), (1e-7, "1e-07"), (0.123456789, "0.123456789"), ([0.5, 1], "[0.5,1]")],
)
def test_values_are_written_as_on_the_command_line(value: object, text: str) -> None:
    assert text_of(value) == text


def configs(*losses: LossConfig) -> dict[str, dict[str, Any]]:
    return {f"run{seed}": asdict(replace(BASE, loss=loss, seed=seed)) for seed, loss in enumerate(losses)}


def test_runs_whose_names_do_not_tell_them_apart_get_words() -> None:
    assert told_apart(configs(Sml(), LglInr())) == {}
    assert told_apart(configs(Sml())) == {}
    assert told_apart(configs(Sml(), LglInr(beta=2.0), LglInr(beta=4.0))) == {
        "run0": "sml, seed 0",
        "run1": "lgl_inr, beta 2, seed 1",
        "run2": "lgl_inr, beta 4, seed 2",
    }


def test_the_words_of_a_single_run_are_the_options_that_are_not_the_default(tmp_path: Path) -> None:
    assert changed(BASE) == ""
    run = replace(BASE, loss=LglInr(beta=4.0), schedule=Schedule(epochs=3, lr=0.1, milestones=[0.5]))
    assert changed(run) == "beta 4, lr 0.1, epochs 3, milestones [0.5]"
    assert changed(replace(BASE, schedule=Schedule(warm_start="a-run"))) == "warm_start a-run"
    assert (
        changed(replace(BASE, dataset=Npz(path=str(tmp_path / "x.npz"), sha256="0" * 64), seed=3)) == "sha256 00000000"
    )


def test_the_words_are_a_folder_s_name_whatever_an_option_holds() -> None:
    assert changed(replace(BASE, schedule=Schedule(warm_start="x" * 200))) == f"warm_start {'x' * 136}..."
    odd = replace(BASE, loss=LglInr())
    odd.loss.counts = "../\n\u00e4"  # type: ignore[attr-defined]
    assert changed(odd) == "counts ..___"
