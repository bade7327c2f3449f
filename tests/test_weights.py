"""Weights of finished runs: what is saved, the network in Python, and how weights travel; no code is run by reading."""

import hashlib
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kinds_of_runs import Invoke
from made_runs import contents, finished
from safetensors import safe_open
from safetensors.torch import load_file
from test_new_kinds import registered
from torch import Tensor, nn
from weighted_runs import config, evaluated, raw_test_images

from lossbench import load_network
from lossbench.config.run import Config, Runtime
from lossbench.runs import archive, inspect
from lossbench.runs.folder import WEIGHTS, Run, open_run
from lossbench.runs.records import committed_records, own_records
from lossbench.training.fit import fit
from lossbench.training.weights import check_savable

__all__ = ["registered"]  # a fixture


def test_the_record_has_the_digest_and_the_file_says_what_it_is(saved: Run) -> None:
    content = (saved.folder / WEIGHTS).read_bytes()
    record = saved.record()
    assert record["weights"] == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    with safe_open(saved.folder / WEIGHTS, "pt") as file:
        facts = file.metadata()
    assert {key: json.loads(text) for key, text in facts.items()} == {
        "lossbench": {
            "format": 1,
            "run_id": saved.id,
            "dataset": "digits",
            "model": "cnn2c",
            "loss": "lgl_inr",
            "shape": [1, 28, 28],
            "num_classes": 10,
            "in_two_parts": False,
        }
    }
    tensors = load_file(saved.folder / WEIGHTS)
    network = {name for name in tensors if name.startswith("network.")}
    assert sorted(tensors.keys() - network) == ["input.scale", "input.shift", "train.class_counts", "train.predictions"]
    assert sum(tensors[name].numel() for name in network) == record["num_parameters"]
    assert tensors["train.class_counts"].sum() == record["num_train"] == len(tensors["train.predictions"]) == 96


def test_weights_are_off_by_default_and_change_no_name_and_no_number(outputs: Path, tmp_path: Path) -> None:
    assert Runtime().save_weights is False
    plain = config(tmp_path / "plain")
    plain.runtime.save_weights = False
    record = fit(plain, open_run(plain))
    assert "weights" not in record
    assert not (open_run(plain).folder / WEIGHTS).exists()
    saved = open_run(config(outputs)).record()
    assert (record["run_id"], record["curves"], record["scores"]) == (saved["run_id"], saved["curves"], saved["scores"])


def test_a_kill_between_weights_and_record_leaves_an_unfinished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lossbench.runs import folder

    made, write = config(tmp_path), folder.write_bytes

    def killed(path: Path, content: bytes, *others: Any) -> None:
        if path.name == "result.json":
            raise KeyboardInterrupt
        write(path, content, *others)

    with monkeypatch.context() as patch:
        patch.setattr(folder, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            fit(made, open_run(made))
    run = open_run(made)
    assert (run.folder / WEIGHTS).exists()
    assert not run.finished
    assert inspect.check(tmp_path, None) == (1, [])
    first = (run.folder / WEIGHTS).read_bytes()
    record = fit(made, run)
    assert record["weights"]["sha256"] == hashlib.sha256(first).hexdigest()  # the same weights, from the checkpoint
    assert evaluated(made).as_recorded


def test_a_run_that_goes_on_without_save_weights_drops_those_of_a_killed_try(tmp_path: Path) -> None:
    made = config(tmp_path)
    made.runtime.save_weights = False
    run = open_run(made)
    run.start(made)
    (run.folder / WEIGHTS).write_bytes(b"of a killed try")
    fit(made, run)
    assert not (run.folder / WEIGHTS).exists()


def test_a_network_with_a_state_that_is_no_tensor_is_refused_before_training() -> None:
    class Odd(nn.Linear):
        def get_extra_state(self) -> Any:
            return {"steps": 3}

    with pytest.raises(ValueError, match=r"runtime\.save_weights: the network's state has _extra_state, a dict, and"):
        check_savable(Odd(2, 2))
    check_savable(nn.Linear(2, 2))


def test_tied_weights_are_saved(tmp_path: Path, registered: None) -> None:
    """Two layers that share one tensor, which safetensors by itself refuses."""
    from dataclasses import dataclass

    from lossbench import ModelConfig, register_model

    @register_model(label="tied")
    @dataclass
    class Tied(ModelConfig):
        name: str = "tied"

        def build(self, shape: Any, num_classes: int) -> nn.Module:
            layers = nn.Sequential(
                nn.Flatten(), nn.Linear(784, 784), nn.ReLU(), nn.Linear(784, 784), nn.Linear(784, 10)
            )
            layers[3].weight = layers[1].weight
            return layers

    made = config(tmp_path, model=Tied())
    fit(made, open_run(made))
    assert evaluated(made).as_recorded


def test_damaged_weights_in_a_record_are_a_damaged_record(saved: Run, outputs: Path) -> None:
    record = saved.record()
    for odd in ({"sha256": 3, "bytes": 1}, {"sha256": "a"}, "weights", {"sha256": "a", "bytes": "many"}):
        (saved.folder / "result.json").write_text(json.dumps(record | {"weights": odd}))
        assert any("damaged record" in problem.message for problem in own_records(outputs).problems), odd


def test_a_loaded_network_predicts_as_the_run_did_on_raw_images(saved: Run, no_pickle: None) -> None:
    network = load_network(str(saved.folder))
    assert (network.training, network.run_id, network.shape, network.num_classes) == (False, saved.id, (1, 28, 28), 10)
    assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}
    images = raw_test_images(config(Path("outputs")))
    with torch.no_grad():
        logits = network(images)
        of_floats = network(images.double() / 255)
        of_inputs = network.network(network.inputs(images))
    with np.load(saved.folder / "arrays.npz", allow_pickle=False) as arrays:
        assert np.array_equal(logits.argmax(dim=1).numpy(), arrays["test_predictions"])
        assert np.abs(logits.numpy() - arrays["test_logits"].astype(np.float32)).max() < 0.01  # half precision there
    torch.testing.assert_close(of_floats, logits, rtol=1e-4, atol=1e-4)
    assert torch.equal(of_inputs, logits)
    inputs = network.inputs(images)
    mean, std = (torch.from_numpy(np.array(value)) for value in statistics(config(Path("outputs"))))
    torch.testing.assert_close(inputs, ((images / 255 - mean) / std).float(), rtol=1e-4, atol=1e-4)


def statistics(made: Config) -> tuple[float, float]:
    """Mean and standard deviation of the 96 training images in 0..1."""
    from lossbench.data.prepared import prepared_arrays
    from lossbench.data.subsets import select

    pixels = select(prepared_arrays(made.dataset, made.runtime), made.dataset)["train_images"] / 255
    return float(pixels.mean()), float(pixels.std())


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (torch.zeros(2, 3, 28, 28), r"takes inputs of shape \[N, 1, 28, 28\], got \[2, 3, 28, 28\]"),
        (torch.zeros(1, 28, 28), r"takes inputs of shape \[N, 1, 28, 28\], got \[1, 28, 28\]"),
        (torch.full((2, 1, 28, 28), 255.0), r"float images must be in 0\.\.1, got values from 255 to 255"),
        (torch.full((2, 1, 28, 28), -0.4), r"float images must be in 0\.\.1, got values from -0\.4 to -0\.4"),
        (torch.full((2, 1, 28, 28), float("nan")), r"float images must be in 0\.\.1, got values from nan to nan"),
        (torch.zeros(2, 1, 28, 28, dtype=torch.int64), r"images must be uint8 in 0\.\.255 or floats in 0\.\.1, got "),
    ],
)
def test_images_that_a_network_cannot_take_are_refused(images: Tensor, reason: str, trained: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        load_network(open_run(config(trained)).folder)(images)


def test_no_images_give_no_logits(trained: Path) -> None:
    network = load_network(open_run(config(trained)).folder)
    assert network(torch.zeros(0, 1, 28, 28)).shape == network(torch.zeros(0, 1, 28, 28).byte()).shape == (0, 10)


def test_the_three_lines_of_the_documentation_work(saved: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[1] / "docs" / "commands.md").read_text()
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "load_network" in block]
    code = re.sub(r"outputs/runs/[\w-]+", f"outputs/runs/{saved.id}", code)
    known: dict[str, Any] = {"images": raw_test_images(config(Path("outputs")))}
    exec(code, known)
    with np.load(saved.folder / "arrays.npz") as arrays:
        assert np.array_equal(known["classes"].numpy(), arrays["test_predictions"])


def test_weights_travel_where_they_are_asked_for(outputs: Path, saved: Run, invoke: Invoke) -> None:
    def import_into(folder: str, file: str, said: str) -> dict[str, bytes]:
        assert invoke("import", file, "--output-dir", folder).output == f"{said} existed already\n"
        return contents(Path(folder))

    invoke("export", "plain.zip")
    assert not any(name.endswith(WEIGHTS) for name in zipfile.ZipFile("plain.zip").namelist())
    invoke("export", "whole.zip", "--weights")
    assert [name for name in zipfile.ZipFile("whole.zip").namelist() if name.endswith(WEIGHTS)] == [
        f"{saved.id}/{WEIGHTS}"
    ]
    place = f"runs/{saved.id}/{WEIGHTS}"
    assert place not in import_into("plain", "plain.zip", "2 runs added to plain/runs, 0")
    assert inspect.check("plain", None) == (2, [])  # whole without them
    assert "its weights are not here (sha256 " in invoke("show", saved.id, "--output-dir", "plain").output
    whole = import_into("whole", "whole.zip", "2 runs added to whole/runs, 0")
    assert whole[place] == (saved.folder / WEIGHTS).read_bytes()
    assert "its weights are in weights.safetensors (sha256 " in invoke("show", saved.id, "--output-dir", "whole").output
    assert import_into("plain", "whole.zip", "1 runs added to plain/runs, 1") == whole  # the weights come later
    assert import_into("plain", "whole.zip", "0 runs added to plain/runs, 2") == whole
    assert json.loads(invoke("evaluate", saved.id, "--output-dir", "plain", "--json").stdout)["as_recorded"] is True


def test_damaged_weights_stay_behind_and_are_not_taken(
    outputs: Path, saved: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.export_archive(Path("whole.zip"), outputs, weights=True)
    members = zipfile.ZipFile("whole.zip")
    with zipfile.ZipFile("swapped.zip", "w") as swapped:
        for name in members.namelist():
            swapped.writestr(name, b"other" if name.endswith(WEIGHTS) else members.read(name))
    new, known, (problem,) = archive.import_archive(Path("swapped.zip"), "b")
    assert (new, known) == (1, 0)
    assert problem.startswith(f"swapped.zip/{saved.id}/{WEIGHTS} has 5 bytes, and {saved.id} wrote ")
    assert not (Path("b/runs") / saved.id).exists()
    (saved.folder / WEIGHTS).write_bytes(b"other")
    found = archive.export_archive(Path("again.zip"), outputs, weights=True)
    assert saved.id not in found.records
    assert f"{saved.folder / WEIGHTS} has 5 bytes" in found.problems[0].message
    assert saved.id in archive.export_archive(Path("again.zip"), outputs).records  # nobody asked for them


def test_weights_that_no_record_knows_are_named(tmp_path: Path) -> None:
    plain = finished(tmp_path)
    (plain.folder / WEIGHTS).write_bytes(b"of another run")
    expected = f"{plain.folder / WEIGHTS} is no part of {plain.id}, whose record has no weights; remove the file"
    assert inspect.check(tmp_path, None) == (1, [expected])


def test_published_records_have_the_digest_and_no_weights(outputs: Path, saved: Run) -> None:
    assert archive.publish(outputs, "results") == 2
    assert not any("weights" in name for name in contents(Path("results")))
    assert committed_records("results").records[saved.id].fields["weights"] == saved.record()["weights"]
    assert inspect.check("nothing", "results") == (2, [])


def test_removal_takes_the_weights_and_their_size_is_shown(outputs: Path, saved: Run, invoke: Invoke) -> None:
    size = saved.record()["weights"]["bytes"]
    (line,) = json.loads(invoke("runs", "--seed", "0", "--json").stdout)
    assert line["bytes"] > size
    assert json.loads(invoke("show", saved.id, "--json").stdout)["weights"] == saved.record()["weights"]
    invoke("remove", saved.id, "--yes")
    assert not saved.folder.exists()
