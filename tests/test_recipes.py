"""The documentation's files for a loss, a network and a data set work as printed, with no edit elsewhere."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lossbench.config.options import ClassWeights, TrainingClasses
from lossbench.config.registry import LOSSES
from lossbench.report.style import style_at

ROOT = Path(__file__).parents[1]
SHORT = ("dataset.num_train=64", "schedule.epochs=1", "schedule.batch_size=32", "runtime.device=cpu")
FACTS = """
import json
from lossbench.config.registry import LABELS, LOSSES
from lossbench.report.style import STYLES
facts = LOSSES["squentropy"]
place = list(STYLES).index(facts.label)
known = [LABELS["squentropy"], facts.probabilities, list(facts.maps), place, STYLES[facts.label], len(STYLES)]
print(json.dumps(known))
"""


@dataclass(frozen=True)
class Copy:
    """A copy of the suite in a folder of its own."""

    folder: Path

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(self.folder / "src")}
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def train(self, *overrides: str) -> dict[str, dict[str, Any]]:
        """The records of all runs so far, by name, once these have been trained."""
        done = self.python("scripts/train.py", *SHORT, *overrides)
        assert done.returncode == 0, done.stderr
        return {
            path.parent.name: json.loads(path.read_text()) for path in self.folder.glob("outputs/runs/*/result.json")
        }

    def refused(self, *overrides: str) -> str:
        """The one sentence with which these are refused; nothing is trained."""
        before = set(self.folder.glob("outputs/runs/*"))
        done = self.python("scripts/train.py", *SHORT, *overrides)
        assert (done.returncode, done.stdout) == (1, "")
        assert set(self.folder.glob("outputs/runs/*")) == before
        return done.stderr.partition("\n")[0]


def blocks(page: str) -> list[str]:
    """The code blocks in Python of a page."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    folder = tmp_path_factory.mktemp("copy")
    for name in ("src", "conf", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (loss,), (network, dataset) = blocks("README.md"), blocks("docs/extending.md")
    (folder / "src/lossbench/losses/squentropy.py").write_text(loss)
    (folder / "src/lossbench/models/mlp.py").write_text(network)
    (folder / "src/lossbench/data/stripes.py").write_text(dataset)
    return Copy(folder)


def of_run(records: dict[str, dict[str, Any]], **options: Any) -> dict[str, Any]:
    """The record of the one run whose config has these options, `loss_focus=1` for loss.focus=1."""

    def has(record: dict[str, Any]) -> bool:
        keys = {key: key.split("_", 1) for key in options}
        return all(record["config"][group].get(option) == options[key] for key, (group, option) in keys.items())

    (record,) = filter(has, records.values())
    return record


@pytest.mark.long
def test_the_readmes_loss_goes_from_the_command_line_to_its_record(copy: Copy) -> None:
    records = copy.train("dataset=digits", "loss=squentropy", "loss.squares=0")
    plain = of_run(records, loss_name="squentropy", loss_squares=0.0)
    records = copy.train("dataset=digits", "loss=squentropy,sml", "-m")
    own, sml = of_run(records, loss_name="squentropy", loss_squares=1.0), of_run(records, loss_name="sml")
    assert len(records) == 3
    assert 0 <= own["test_accuracy"] <= 1
    assert plain["test_loss"] == pytest.approx(sml["test_loss"], rel=1e-5)  # at 0 it is the cross-entropy
    assert plain["test_accuracy"] == pytest.approx(sml["test_accuracy"], abs=0.01)
    assert set(own["scores"]) == set(sml["scores"])
    nll = {record["run_id"]: record["scores"]["softmax"]["nll"] for record in (own, sml)}
    assert sml["test_loss"] == pytest.approx(nll[sml["run_id"]], rel=1e-4)
    assert own["test_loss"] > nll[own["run_id"]] + 1e-3  # by the squares
    assert nll[own["run_id"]] == pytest.approx(nll[sml["run_id"]], abs=0.2)
    assert copy.refused("dataset=digits", "loss=squentropy", "loss.squares=-1") == (
        "lossbench: loss.squares must be >= 0 and finite, got -1.0"
    )
    assert "did you mean loss=squentropy?" in copy.refused("dataset=digits", "loss=sqentropy")


def test_tables_and_figures_know_the_readmes_loss(copy: Copy) -> None:
    label, probabilities, maps, place, style, num_styles = json.loads(copy.python("-c", FACTS).stdout)
    assert (label, probabilities, maps, num_styles) == ("Squentropy", "softmax", ["softmax"], len(LOSSES) + 1)
    assert place >= 3  # the first three are those of the paper's losses
    assert style == style_at(place)


def test_class_weights_work_with_the_readmes_loss(copy: Copy) -> None:
    imbalanced = ("dataset=digits", "dataset.imbalance=step", "dataset.imbalance_ratio=3", "loss=squentropy")
    both = ("loss.squares=3", "loss.class_weights=null,inverse", "runtime.parallel=1")
    records = copy.train(*imbalanced, *both, "-m")
    weighted = of_run(records, loss_squares=3.0, loss_class_weights="inverse")
    assert weighted["test_loss"] != of_run(records, loss_squares=3.0, loss_class_weights=None)["test_loss"]


def test_the_network_of_the_documentation_is_trained(copy: Copy) -> None:
    record = of_run(copy.train("dataset=digits", "model=mlp", "model.num_hidden=32", "loss=sml"), model_name="mlp")
    assert record["num_parameters"] == (784 + 1) * 32 + (32 + 1) * 10
    assert 0 <= record["test_accuracy"] <= 1


def test_the_data_set_of_the_documentation_is_trained_on(copy: Copy) -> None:
    chosen = ("dataset=stripes", "dataset.noise=20", "model=cnn2c", "loss=sml", "schedule.epochs=10")
    done = copy.python("scripts/train.py", *chosen, "dataset.num_train=64", "runtime.device=cpu")
    assert done.returncode == 0, done.stderr
    (path,) = copy.folder.glob("outputs/runs/stripes-*/result.json")
    record = json.loads(path.read_text())
    assert (record["num_train"], record["num_test"]) == (64, 100)
    assert len(record["curves"]["lr"]) == 10
    assert record["test_accuracy"] > 0.9
    sentence = copy.refused("dataset=stripes", "dataset.noise=200")
    assert sentence == "lossbench: dataset.noise must be in 0..127, got 200"


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_uses_class_weights_or_refuses_them_in_one_sentence(name: str) -> None:
    import torch

    options = LOSSES[name].options
    if not options.takes_class_weights:
        rule = f"loss.class_weights must be null for loss={name}, which takes no class weights, got inverse"
        with pytest.raises(ValueError, match=f"^{re.escape(rule)}$"):
            options(class_weights=ClassWeights.inverse)
        return
    logits, target = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 0, 0, 0, 1, 2])
    given: list[Any] = [logits, target]
    counts = torch.bincount(target)
    if options.needs == "features":
        head = torch.nn.Linear(3, 3, bias=False).requires_grad_(requires_grad=False)
        given.insert(1, head)
        torch.nn.init.eye_(head.weight)  # the features are the logits
    built = options(class_weights=ClassWeights.inverse)

    def value(weights: list[float]) -> float:
        return float(built.build(TrainingClasses(3, counts, torch.tensor(weights)))(*given))

    plain = float(options().build(TrainingClasses(3, counts, None))(*given))
    assert value([1.0, 1.0, 1.0]) == pytest.approx(plain, rel=1e-6)
    alone = [value([float(row == k) for row in range(3)]) for k in range(3)]  # what the samples of a class pay
    assert sum(alone) == pytest.approx(plain, rel=1e-6)
    assert value([0.5, 2.0, 2.0]) == pytest.approx(0.5 * alone[0] + 2 * alone[1] + 2 * alone[2], rel=1e-6)
