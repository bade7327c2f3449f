"""`lossbench check-loss` names what is wrong with a loss, and finds nothing wrong with right ones."""

import json
import re
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner, Result
from planted_losses import WRONG
from right_losses import RIGHT

from lossbench.cli.main import lossbench, main
from lossbench.properties.described import describe, time_limit
from lossbench.properties.faults import check
from lossbench.properties.probe import TooSlowError
from lossbench.properties.sources import find_loss, known_losses
from lossbench.properties.verdict import Verdict

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures("fresh_plugins")


def codes(verdict: Verdict, level: str = "fault") -> list[str]:
    return [finding.code for finding in verdict.findings if finding.level == level]


@pytest.mark.parametrize("name", WRONG)
def test_a_planted_fault_is_named_and_no_other(name: str) -> None:
    loss, code, words = WRONG[name]
    verdict = check(loss, name, briefly=True)
    assert codes(verdict) == [code], [finding.line for finding in verdict.at("fault")]
    assert verdict.sentence.startswith(f"{name} is wrong: ")
    assert words in verdict.sentence


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_loss_has_no_fault(name: str) -> None:
    verdict = check(RIGHT[name], name, briefly=True)
    assert verdict.sentence == f"{name}: no fault found.", verdict.sentence


@pytest.mark.parametrize("name", sorted(known_losses()))
def test_a_registered_loss_has_no_fault(name: str) -> None:
    _check_registered(name, 10)


@pytest.mark.long
@pytest.mark.parametrize("num_classes", [2, 3, 100, 1000])
@pytest.mark.parametrize("name", sorted(known_losses()))
def test_a_registered_loss_has_no_fault_for_any_number_of_classes(name: str, num_classes: int) -> None:
    _check_registered(name, num_classes)


def _check_registered(name: str, num_classes: int) -> None:
    verdict = check(known_losses()[name], name, num_classes, briefly=True)
    assert codes(verdict) == [], verdict.sentence
    assert ("depends_on_batch" in codes(verdict, "warning")) == (name == "lgl_inr")
    specific = {"ldam", "logit_adjusted"}
    assert ("class_specific" in codes(verdict, "fact")) == (name in specific)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("brier", "bounded as z_y falls (at most 1.11)"),
        ("mae", "bounded as z_y falls (at most 2)"),
        ("taylor_softmax", "falls as z_y falls beyond z_y = -1: a badly wrong sample moves farther away"),
    ],
)
def test_what_slows_training_is_a_warning(name: str, words: str) -> None:
    verdict = check(known_losses()[name], name, briefly=True)
    assert any(words in finding.line for finding in verdict.at("warning")), verdict.at("warning")


def test_two_faults_are_both_found() -> None:
    def both(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, (target + 1) % logits.shape[1], reduction="sum")

    assert codes(check(both, "both", briefly=True)) == ["sum_over_batch", "label_off"]

    def three(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (logits.softmax(dim=1)[torch.arange(len(target)), target] + 1e-7).log().sum()

    verdict = check(three, "three", briefly=True)
    assert codes(verdict) == ["sum_over_batch", "sign", "eps"]
    assert verdict.sentence.endswith(" (and 2 more faults).")

    def detached(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, (target - 1) % logits.shape[1], reduction="sum").detach()

    assert codes(check(detached, "detached", briefly=True)) == ["detached", "sum_over_batch", "label_off"]

    def clamped_next(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        p = logits.softmax(dim=1).clamp_min(1e-9)
        return F.nll_loss(p.log(), (target + 1) % logits.shape[1])

    assert codes(check(clamped_next, "clamped_next", briefly=True)) == ["label_off", "eps"]


def test_a_loss_without_a_float64_form_is_checked_too() -> None:
    table = torch.eye(10)

    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return -(logits.log_softmax(dim=1) @ table * F.one_hot(target, 10)).sum(dim=1).mean()

    assert codes(check(loss, "loss", briefly=True)) == []
    assert codes(check(lambda z, y: -loss(z, y), "negated", briefly=True)) == ["sign"]


def test_bad_targets_that_are_accepted_are_a_warning() -> None:
    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return -(logits.log_softmax(dim=1) * (target[:, None] == torch.arange(logits.shape[1]))).sum(dim=1).mean()

    (finding,) = [one for one in check(loss, "loss", briefly=True).at("warning") if one.code == "bad_targets"]
    assert "class -1" in finding.text
    assert "class 10" in finding.text
    assert "bad_targets" not in codes(check(F.cross_entropy, "cross_entropy", briefly=True), "warning")


def test_a_silent_second_derivative_is_a_warning() -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(context, logits, target):  # type: ignore[no-untyped-def]
            context.residual = (logits.softmax(dim=1) - F.one_hot(target, logits.shape[1])).detach() / len(target)
            return F.cross_entropy(logits, target)

        @staticmethod
        def backward(context, outer):  # type: ignore[no-untyped-def]
            return outer * context.residual, None

    verdict = check(Once.apply, "once", briefly=True)
    assert codes(verdict) == []
    assert "its second derivative is 0 without an error" in [one.text for one in verdict.at("warning")]
    assert "second_derivative" not in codes(check(F.cross_entropy, "ce", briefly=True), "warning")


def test_facts_say_what_it_is() -> None:
    known = known_losses()
    texts = {one.text for one in check(lambda z, y: 3 * F.cross_entropy(z, y) - 1, "f", 10, known, True).at("fact")}
    assert "it is 3 times sml - 1" in texts
    verdict = check(lambda z, y: F.cross_entropy(z / 4, y), "f", 10, known, True)
    assert "it is 1 times the softmax cross-entropy of 0.25 times the logits (temperature 4)" in {
        one.text for one in verdict.at("fact")
    }
    lgl = check(known["lgl"], "lgl", 10, {"lgl_inr": known["lgl_inr"]}, True)
    assert "equals" not in codes(lgl, "fact")  # single samples agree, batches do not


def test_cost_and_properties() -> None:
    verdict = check(F.cross_entropy, "cross_entropy")
    assert [(cost.batch_size, cost.num_classes) for cost in verdict.cost] == [(256, 10), (256, 1000)]
    assert all(0.2 < cost.ratio < 5 for cost in verdict.cost)
    assert 0.9 < verdict.cost[1].kept < 2.1  # log-probabilities
    assert verdict.properties["convex in the logits"] == "yes"
    assert verdict.properties["largest gradient of a sample"] == "1.41"
    assert verdict.properties["proper with softmax"] == "yes"
    mae = check(known_losses()["mae"], "mae").properties
    assert mae["convex in the logits"].startswith("no; ")
    assert mae["top-1 consistent"] == "yes"
    assert mae["keeps the order of the posterior"].startswith("no; ")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(lossbench, ["check-loss", *arguments])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my_loss.py"
    path.write_text(
        """
import torch
import torch.nn.functional as F

def my_loss(logits, target, factor=1.0):
    print("called")
    return factor * F.cross_entropy(logits, target, reduction="sum")

class Mine(torch.nn.Module):
    def forward(self, logits, target):
        return F.cross_entropy(logits, target)

number = 3
"""
    )
    return path


def test_the_command_says_what_is_wrong(file: Path) -> None:
    done = call(f"{file}:my_loss", "--json")
    said = json.loads(done.stdout)
    assert done.exit_code == 1
    assert said["verdict"].startswith("my_loss is wrong: it is the sum over the batch: twice the batch gives twice ")
    assert not said["ok"]
    assert [fault["code"] for fault in said["faults"]] == ["sum_over_batch"]
    assert said["properties"] == {}
    done = call(f"{file}:Mine")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "Mine: no fault found."
    assert {"Facts", "Properties", "  it is sml."} <= set(done.stdout.splitlines())


def test_options(file: Path) -> None:
    loss = find_loss(f"{file}:my_loss", {"factor": "-2"})[1]
    logits, target = torch.randn(3, 4), torch.tensor([0, 1, 3])
    assert float(loss(logits, target)) == pytest.approx(-2 * float(F.cross_entropy(logits, target, reduction="sum")))
    smoothing, half = (find_loss("focal", {"gamma": "3", "scale": scale})[1] for scale in ("1", "0.5"))
    assert float(half(logits, target)) == pytest.approx(0.5 * float(smoothing(logits, target)))
    weighted = find_loss("sml", {"class_weights": "inverse"})[1]
    assert float(weighted(logits, target)) != pytest.approx(float(F.cross_entropy(logits, target)))
    assert codes(check(find_loss("lgl_inr", {"eps": "1e-7"})[1], "lgl_inr", briefly=True)) == ["eps"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.py:f"], "there is no file nothing.py"),
        (["FILE:f"], "there is no f in FILE; it has my_loss, Mine"),
        (["FILE"], "FILE has my_loss, Mine; name one, as FILE:NAME"),
        (["FILE:number"], "FILE:number is no function of logits and target, but of type int"),
        (["FILE:my_loss", "--option", "gamma=1"], "FILE:my_loss has no option gamma; its options are factor"),
        (["nonsense"], "there is no loss nonsense; a function is "),
        (["focal", "--option", "gama=1"], "focal has no option gama; its options are "),
        (["focal", "--option", "gamma=high"], "gamma must be float, got high"),
        (["focal", "--option", "gamma=-1"], "loss.gamma must be"),
        (["sml", "--option", "class_weights=big"], "class weights must be inverse"),
    ],
)
def test_a_mistake_gives_one_sentence(
    arguments: list[str], words: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check-loss", *(word.replace("FILE", str(file)) for word in arguments)])
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert words.replace("FILE", str(file)) in line


def test_wrong_usage_is_exit_code_2(file: Path) -> None:
    assert call().exit_code == 2
    assert call("sml", "--option", "gamma").exit_code == 2
    assert call("sml", "--num-classes", "1").exit_code == 2


def test_a_loss_that_cannot_be_called_gives_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.py"
    path.write_text("def broken(logits, target):\n    return logits[target, 3, 4].mean()\n")
    with pytest.raises(SystemExit):
        main(["check-loss", f"{path}:broken"])
    (line,) = capsys.readouterr().err.splitlines()
    assert "broken fails for logits [8, 10] (float32) and target [8] (int64): IndexError: too many indices" in line
    path = tmp_path / "unreadable.py"
    path.write_text("def f(:\n")
    with pytest.raises(SystemExit):
        main(["check-loss", f"{path}:f"])
    (line,) = capsys.readouterr().err.splitlines()
    assert "unreadable.py cannot be loaded" in line


def test_the_readmes_loss_has_no_fault(tmp_path: Path) -> None:
    printed = re.search(r"```python\n(.*?squentropy.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert printed is not None
    path = tmp_path / "checked_squentropy.py"
    path.write_text(printed[1].replace("squentropy", "checked_squentropy").replace('"Squentropy"', '"Checked"'))
    name, loss = find_loss(f"{path}:checked_squentropy", {"squares": "0.5"})
    verdict = check(loss, name, briefly=True)
    assert verdict.sentence == "checked_squentropy: no fault found."
    find_loss(f"{path}:checked_squentropy", {})[1](torch.zeros(2, 3), torch.tensor([0, 1]))  # the registered one


def test_properties_that_would_take_minutes_are_left_out() -> None:
    def of_ten_classes(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(logits, F.one_hot(target, 10).to(logits.dtype))

    assert describe(of_ten_classes, 10) == {"not estimated": "it works for 10 classes, but not for 4"}
    with pytest.raises(TooSlowError), time_limit(0.05):
        time.sleep(10)
    with time_limit(0.05):
        pass
    time.sleep(0.1)  # nothing is raised afterwards
