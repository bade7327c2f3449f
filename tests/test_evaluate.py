"""`lossbench evaluate`: the numbers of the record, other data sets, plugins, and what is refused in a sentence."""

import hashlib
import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from kinds_of_runs import Invoke
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_commands import mistake
from test_new_kinds import by_features, registered, tokens
from test_plugins import program, records
from torch import Tensor
from weighted_runs import command, config, evaluated

from lossbench import load_network
from lossbench.config.options import ClassWeights, LossConfig, Normalization
from lossbench.config.run import Config, Precision, Runtime, Schedule, run_id
from lossbench.data.digits import Digits
from lossbench.losses.adaptive_softmax import AdaptiveSoftmax
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.nce import Nce
from lossbench.losses.sml import Sml
from lossbench.losses.taylor_softmax import TaylorSoftmax
from lossbench.models.cnn2c import Cnn2c, Head
from lossbench.runs import inspect
from lossbench.runs.folder import WEIGHTS, Run, open_run
from lossbench.runs.records import own_records
from lossbench.runs.restored import config_of
from lossbench.training.evaluate_run import evaluate_run
from lossbench.training.fit import fit

__all__ = ["registered"]  # a fixture


def test_evaluation_gives_the_numbers_of_the_record(saved: Run, invoke: Invoke, no_pickle: None) -> None:
    record = saved.record()
    said = json.loads(invoke("evaluate", saved.id, "runtime.device=cpu", "--json").stdout)
    assert said["as_recorded"] is True
    assert (said["accuracy"], said["loss"]) == (record["test_accuracy"], record["test_loss"])
    assert said["scores"] == record["scores"]
    assert (said["run_id"], said["num_test"], said["device"], said["precision"]) == (saved.id, 300, "cpu", "fp32")
    assert said["dataset"]["num_train"] == 96
    shown = invoke(
        "evaluate", "digits-cnn2c-lgl_inr-s0", "runtime.device=cpu"
    ).stdout  # the beginning of a name is enough
    assert f"{saved.id} on digits: 300 test samples, cpu (" in shown
    assert re.search(rf"accuracy +{record['test_accuracy']:.4f} +the same", shown)
    assert re.search(rf"sigmoid +{record['scores']['sigmoid']['nll']:.4f} ", shown)
    assert shown.endswith("as in the record: accuracy, loss and every score are the same\n")
    own = json.loads(invoke("evaluate", saved.id, "dataset=digits", "--json").stdout)  # the same test samples, by name
    assert own["as_recorded"] is True


KINDS: dict[str, Callable[[Path], Config]] = {
    "augmented, with validation": lambda folder: config(
        folder, dataset=Digits(num_train=64, num_validation=100, augment=True, classes=[6, 4, 9])
    ),
    "pixels in 0..1": lambda folder: config(
        folder, dataset=Digits(num_train=64, normalization=Normalization.none), loss=Sml()
    ),
    "bf16": lambda folder: config(folder, schedule=Schedule(epochs=1, batch_size=32, precision=Precision.bf16)),
    "class weights": lambda folder: config(folder, loss=Sml(scale=2.0, class_weights=ClassWeights.effective)),
    "features": lambda folder: config(folder, loss=by_features()),
    "tokens": lambda folder: config(folder, **dict(zip(("dataset", "model"), tokens(50), strict=True)), loss=Sml()),
    "many classes": lambda folder: config(
        folder, **dict(zip(("dataset", "model"), tokens(101), strict=True)), loss=Sml()
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_is_evaluated_as_in_its_record(kind: str, tmp_path: Path, registered: None) -> None:
    made = KINDS[kind](tmp_path)
    record = fit(made, open_run(made))
    found = evaluated(made)
    assert found.as_recorded
    assert found.accuracy == record["test_accuracy"]
    assert found.scores == record.get("scores")
    assert {f"test/{name}": value for name, value in found.metrics.items()} == record.get("metrics", {})
    assert config_of(json.loads(json.dumps(record)), made.runtime) == made
    network, raw = load_network(open_run(made).folder), np.array(made.dataset.read(made.runtime)["test_images"])
    if kind in ("tokens", "many classes", "features", "class weights"):
        predicted = network(torch.from_numpy(raw)).argmax(dim=1)
        with np.load(open_run(made).folder / "arrays.npz") as arrays:
            assert np.array_equal(predicted.numpy(), arrays["test_predictions"])


def test_another_data_set_is_normalised_with_the_constants_of_the_training(
    saved: Run, invoke: Invoke, tmp_path: Path
) -> None:
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 60, (40, 28, 28)).astype(np.uint8), np.arange(40) % 10
    np.savez("dark.npz", train_images=images, train_labels=labels, test_images=images[::-1], test_labels=labels[::-1])
    result = invoke("evaluate", saved.id, "dataset=npz", "dataset.path=dark.npz", "runtime.device=cpu", "--json")
    said = json.loads(result.stdout)
    logits = load_network(saved.folder)(torch.from_numpy(images[::-1].copy())[:, None])
    assert said["accuracy"] == (logits.argmax(dim=1).numpy() == labels[::-1]).mean()
    assert (said["recorded"], said["as_recorded"], said["num_test"]) == (None, None, 40)
    loss = LglInr().build(_Classes(load_file(saved.folder / WEIGHTS)["train.class_counts"]))
    assert said["loss"] == pytest.approx(loss(logits, torch.from_numpy(labels[::-1].copy())).item(), rel=1e-5)
    shown = invoke("evaluate", saved.id, "dataset=npz", "dataset.path=dark.npz").stdout
    assert shown.endswith("inputs are normalised as in training, with the constants of digits\n")
    assert "record" not in shown


class _Classes:
    """What LGL-INR may know of the training samples."""

    def __init__(self, counts: Tensor) -> None:
        self.num_classes, self.counts, self.weights = len(counts), counts, None


def test_an_option_of_the_own_data_set_keeps_the_others(saved: Run, invoke: Invoke) -> None:
    said = json.loads(invoke("evaluate", saved.id, "dataset.num_validation=70", "--json").stdout)
    assert (said["num_test"], said["dataset"]["name"], said["recorded"]) == (70, "digits", None)


def test_a_file_that_was_moved_is_named_anew(tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    from lossbench.data.npz import Npz

    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    arrays = {"train_images": draw.integers(0, 256, (40, 28, 28)), "train_labels": np.arange(40) % 4}
    arrays |= {"test_images": draw.integers(0, 256, (20, 28, 28)), "test_labels": np.arange(20) % 4}
    np.savez("own.npz", **{key: value.astype(np.uint8) for key, value in arrays.items()})
    made = config(Path("outputs"), dataset=Npz(path="own.npz"))
    fit(made, open_run(made))
    shutil.rmtree("outputs/cache")
    Path("own.npz").rename("moved, it's.npz")
    said = json.loads(invoke("evaluate", run_id(made), 'dataset.path="moved, it\'s.npz"', "--json").stdout)
    assert said["as_recorded"] is True
    load_network(f"outputs/runs/{run_id(made)}")  # needs no data


def damaged(saved: Run, kind: str, outputs: Path) -> None:
    path = saved.folder / WEIGHTS
    content = path.read_bytes()
    if kind == "a flipped bit":
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif kind == "truncated":
        path.write_bytes(content[:-100])
    elif kind == "missing":
        path.unlink()
    elif kind == "of another run":
        other = config(outputs.parent / "other", seed=5)
        fit(other, open_run(other))
        shutil.copy(open_run(other).folder / WEIGHTS, path)
    elif kind == "a pickle":
        path.write_bytes(pickle.dumps({"model": 1}))


DAMAGES = {
    "a flipped bit": r"{path} is not what {id} wrote: its SHA-256 is \w{{12}}\.{{3}}, and \w{{12}}\.{{3}} in ",
    "truncated": r"{path} has \d+ bytes, and {id} wrote \d+; remove or restore the file",
    "missing": r"the weights of {id} are not in {folder}; bring them with `lossbench export --weights` and `lossbench ",
    "of another run": r"{path} is not what {id} wrote: its SHA-256 is ",
    "a pickle": r"{path} has \d+ bytes, and {id} wrote \d+; ",
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_file_that_the_run_did_not_write_is_refused_in_a_sentence(
    kind: str, saved: Run, outputs: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    damaged(saved, kind, outputs)
    request.getfixturevalue("no_pickle")
    path = re.escape(str(saved.folder / WEIGHTS))
    expected = DAMAGES[kind].format(path=path, id=saved.id, folder=re.escape(str(saved.folder)))
    said = mistake(capsys, "evaluate", saved.id, "runtime.device=cpu")
    assert re.match(expected, said), said
    assert "\n" not in said
    with pytest.raises(ValueError, match=expected):
        load_network(saved.folder)
    problems = inspect.check(outputs, None)[1]
    assert [bool(re.match(expected, problem)) for problem in problems] == ([] if kind == "missing" else [True])


def test_a_file_whose_record_was_made_to_fit_is_still_no_code(saved: Run, no_pickle: None) -> None:
    """The record names the digest of what is no file of weights: the reader of tensors says so."""
    path = saved.folder / WEIGHTS
    record = saved.record()
    for content in (b"\x80\x04K\x01.", b"", path.read_bytes()[:5000]):
        path.write_bytes(content)
        known = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        (saved.folder / "result.json").write_text(json.dumps(record | {"weights": known}))
        with pytest.raises(ValueError, match=rf"{WEIGHTS} cannot be used \("):
            load_network(saved.folder)


def test_weights_of_another_run_or_a_later_format_are_named(saved: Run) -> None:
    path = saved.folder / WEIGHTS
    tensors, record = load_file(path), saved.record()
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["lossbench"])
    for changes, reason in (
        ({"run_id": "other"}, "it holds the weights of 'other'"),
        ({"format": 2}, "its format is 2, and this lossbench reads 1"),
    ):
        save_file(tensors, path, {"lossbench": json.dumps(facts | changes)})
        known = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
        (saved.folder / "result.json").write_text(json.dumps(record | {"weights": known}))
        with pytest.raises(ValueError, match=reason):
            load_network(saved.folder)


REFUSED = {
    ("dataset=cifar10",): r"dataset=cifar10 has inputs of shape \[3, 32, 32\] and 10 classes; digits-.* was trained on "
    r"dataset=digits with \[1, 28, 28\] and 10$",
    ("dataset.classes=[1,2]",): r"dataset=digits has inputs of shape \[1, 28, 28\] and 2 classes; digits-",
    ("dataset=kmist",): "dataset=kmist: there is no such dataset, only .*; did you mean dataset=kmnist",
    ("dataset=digits", "dataset.padding=3"): r"dataset\.padding=3: there is no option dataset\.padding; did you mean",
    ("dataset.num_validation=x",): r"dataset\.num_validation must be a whole number or null, got x",
    (
        "dataset.normalization=none",
    ): r"dataset\.normalization=none would change no test sample, and all are normalised ",
    ("loss=sml",): "loss=sml is no option of evaluate, which takes dataset=",
    ("runtime.budget_min=3",): r"runtime\.budget_min=3 is no option of evaluate",
    ("dataset",): "dataset is no option of evaluate",
    ("dataset=mnist", "dataset=kmnist"): "dataset is given twice, as dataset=mnist and as dataset=kmnist; keep one",
    ("runtime.device=cuda:7",): r"runtime\.device=cuda:7: (no CUDA device is available|there are only)",
    ("runtime.device=gpu",): r"runtime\.device must be auto, cpu, cuda or cuda:<n>, got gpu",
    ("dataset=npz",): r"dataset\.path must be the \.npz file",
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_wrong_evaluation_is_refused_in_a_sentence(
    words: tuple[str, ...], saved: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    said = mistake(capsys, "evaluate", saved.id, *words)
    assert re.match(REFUSED[words], said.partition("\n")[0]), said


def test_runs_without_weights_or_without_an_end_are_refused(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    without = config(outputs, seed=1)
    way_out = (
        f"to get them, remove it (`lossbench remove {run_id(without)} --yes`) and train it again with "
        "runtime.save_weights=true"
    )
    assert mistake(capsys, "evaluate", run_id(without)) == f"{run_id(without)} has no weights; {way_out}"
    elsewhere = rf"--output-dir {Path('outputs').absolute()} --yes"
    with monkeypatch.context() as patch:
        patch.chdir("outputs/runs")
        with pytest.raises(ValueError, match=elsewhere):
            load_network(run_id(without))
    begun = config(outputs, seed=2)
    open_run(begun).start(begun)
    assert (
        mistake(capsys, "evaluate", run_id(begun))
        == f"{run_id(begun)} is stopped, and only finished runs are evaluated"
    )
    assert mistake(capsys, "evaluate", "mnist").startswith("there is no run mnist")
    with pytest.raises(ValueError, match=r"there is no finished run in .*s2"):
        load_network(open_run(begun).folder)
    monkeypatch.setattr("sys.argv", ["lossbench"])  # which the command sets
    printed = invoke("train", *command(without), "runtime.save_weights=true").stdout
    assert f"{run_id(without)}: finished before" in printed
    assert f"\n{run_id(without)} is finished and without weights; {way_out}\n" in printed
    assert "without weights" not in invoke("train", *command(config(outputs)), "runtime.save_weights=true").stdout


NET = """from dataclasses import dataclass
from lossbench import ModelConfig, register_model


@register_model(label="Line")
@dataclass
class Line(ModelConfig):
    name: str = "line"

    def build(self, shape, num_classes):
        from torch import nn

        return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], num_classes))
"""


@pytest.mark.long
def test_a_network_of_a_plugin_needs_that_plugin(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    words = ["dataset=digits", "dataset.num_train=96", "model=line", "schedule.epochs=1", "runtime.save_weights=true"]
    done = program(tmp_path, "train", *words, "--plugin", "net.py")
    assert done.returncode == 0, done.stderr
    ((name, record),) = records(tmp_path).items()
    done = program(tmp_path, "evaluate", name, "--plugin", "net.py", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["accuracy"], said["as_recorded"]) == (record["test_accuracy"], True)
    without = program(tmp_path, "evaluate", name)
    assert (without.returncode, without.stderr) == (
        1,
        f"lossbench: {name} needs model=line of the plugin net.py, which is not loaded; load it with --plugin or "
        "LOSSBENCH_PLUGINS=net.py\n",
    )
    digest = record["plugins"]["model"]["sha256"]
    (tmp_path / "net.py").write_text(NET.replace('"Line"', '"A line"'))
    edited = program(tmp_path, "evaluate", name, LOSSBENCH_PLUGINS="net.py")
    assert edited.returncode == 1
    assert re.match(
        rf"lossbench: {name} needs model=line of the plugin net.py with the SHA-256 {digest[:12]}\.\.\., and that of "
        r"net\.py is \w{12}\.\.\.; load the version that the run was trained with\n$",
        edited.stderr,
    )


@pytest.mark.parametrize("loss", [Nce(num_sampled=5), AdaptiveSoftmax(), TaylorSoftmax()], ids=lambda loss: loss.name)
def test_losses_with_draws_an_output_layer_or_a_reading_of_their_own_give_the_records_numbers(
    loss: LossConfig, tmp_path: Path
) -> None:
    runtime = Runtime(device="cpu", output_dir=str(tmp_path), num_threads=1, tensorboard=False, save_weights=True)
    schedule = Schedule(epochs=2, batch_size=16, lr=0.05)
    made = Config(Digits(num_train=64), Cnn2c(head=Head.direct), loss, schedule, 0, runtime)
    fit(made, run := open_run(made))
    found = evaluate_run(own_records(tmp_path).records[run.id], run.folder, None, Runtime(output_dir=str(tmp_path)))
    assert found.as_recorded
