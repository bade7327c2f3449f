"""`lossbench compare`: its options, a whole comparison with a plugin's loss, its budget, and what it refuses."""

import json
from pathlib import Path

import pytest
from conftest import Invoke
from test_end_to_end import run, said

from lossbench.cli import quick_comparison
from lossbench.cli.comparing import Asked, asked, comparison_of
from lossbench.cli.main import main
from lossbench.config.run import run_id
from lossbench.data.mnist_type import MnistType
from lossbench.studies.fixed_rules import FOLDER, RULES, fix_rules
from lossbench.studies.results import known_results

SMALL = (
    *("dataset=digits", "dataset.num_train=64", "schedule.batch_size=32", "schedule.epochs=1"),
    *("runtime.device=cpu", "runtime.parallel=1", "runtime.num_threads=1", "runtime.tensorboard=false"),
)
MINE = '''"""A loss of the user's."""

from dataclasses import dataclass

from lossbench import LossConfig, register_loss


@register_loss(label="Mine")
@dataclass
class Mine(LossConfig):
    name: str = "mine"
    power: float = 2.0

    def build(self, classes):
        return lambda logits, target: -(logits.log_softmax(1).gather(1, target[:, None])).mean() * self.power
'''


def given(*words: str) -> Asked:
    return asked(words)


def test_options_are_its_own_or_those_of_the_runs() -> None:
    found = given("loss=focal(gamma=3),sml", "margin=0.5", "seeds=3", "dataset=kmnist", "loss.scale=2", "dry=true")
    assert found.losses == ["focal(gamma=3)", "sml"]
    assert (found.margin, found.seeds, found.dry, found.quick) == (0.5, 3, True, False)
    assert found.others == ["dataset=kmnist", "loss.scale=2"]
    one = comparison_of(found)
    assert list(one.losses) == ["Focal, scale 2, gamma 3", "SML, scale 2"]
    assert (one.rules.baseline, one.rules.margin, one.rules.num_seeds) == ("SML, scale 2", 0.005, 3)
    assert one.config.dataset == MnistType("kmnist")
    assert (one.config.schedule.lr, one.config.seed) == (0.01, 0)


def test_an_option_of_one_loss_goes_to_the_losses_that_have_it() -> None:
    one = comparison_of(given("loss=focal,poly1,gce", "loss.eps=2", "schedule.lr=0.1"))
    assert list(one.losses) == ["Focal", "Poly-1, eps 2", "GCE"]
    assert one.rules.baseline == "Focal"  # the first, as SML is not among them
    assert {config.schedule.lr for config in one.losses.values()} == {0.1}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "name the losses to compare, as in lossbench compare loss="),
        ("loss=sml", "a comparison needs two losses or more, got SML alone"),
        ("loss=sml,sml", "loss=sml,sml names sml twice"),
        ("loss=focal,focal(gamma=2)", "has focal(gamma=2) twice, as two of them have the same options"),
        ("loss=sml,,lgl", "has an empty place"),
        ("loss=sml,focl", "loss=focl: there is no such loss, only "),
        ("loss=sml,focal(", "loss focal( is not written as focal or focal(gamma=3)"),
        ("loss=sml,focal(gamma)", "loss focal(gamma): gamma is no option=value"),
        ("loss=sml,focal(gamma=-1)", "loss.gamma must be >= 0 and finite, got -1.0"),
        ("loss=sml,focal loss.gamm=3", "loss.gamm=3: none of the losses sml, focal has this option"),
        ("loss=sml,lgl baseline=focal", "baseline=focal is none of the losses compared: sml, lgl"),
        ("loss=focal(gamma=1),focal(gamma=3) baseline=focal", "baseline=focal is more than one of the losses compared"),
        ("loss=sml,lgl margin=much", "margin must be a number, got much"),
        ("loss=sml,lgl margin=0", "margin must be > 0 and finite, got 0"),
        ("loss=sml,lgl margin=100", "margin must be > 0 and < 100 points, got 100"),
        ("loss=sml,lgl seeds=0", "seeds must be a whole number >= 1, got 0"),
        ("loss=sml,lgl seeds=2.5", "seeds must be a whole number >= 1, got 2.5"),
        ("loss=sml,lgl seeds=2 seeds=3", "seeds is given twice: 2 and 3"),
        ("loss=sml,lgl margn=1", "margn=1: there is no option margn; did you mean margin=1?"),
        ("loss=sml,lgl dry=yes", "dry must be true or false, got yes"),
        ("loss=sml,lgl name=../x", "name must be letters, digits, '.', '_' and '-', got ../x"),
        ("loss=sml,lgl seed=3", "seed=3: the seeds are 0, 1, ...; seeds=N says how many"),
        ("loss=sml,lgl runtime.budget_min=3", "the budget of a comparison is budget_hours=... or budget_runs=..."),
        ("loss=sml,lgl dataset=mnist,kmnist", "dataset=mnist,kmnist: a comparison has one dataset"),
        ("loss=sml,lgl dataset.num_validation=9", "dataset.num_validation must be null, as compare holds out images"),
        ("run-a run-b", "run-a is no option; an option is written key=value, as in "),
    ],
)
def test_a_wrong_option_is_one_sentence_and_writes_nothing(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["compare", *words.split()])
    assert stop.value.code == 1
    told = capsys.readouterr()
    assert told.err.startswith("lossbench: ")
    assert said in told.err
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_says_how_many_runs_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = invoke("compare", "loss=focal,sml", "dataset=kmnist", "dry=true", "results_dir=null").output.splitlines()
    assert lines[0] == "Focal; SML on KMNIST with CNN2C, 20 epochs: baseline SML, margin 0.25 points, 5 seeds"
    assert lines[1] == "learning rates: 14 of 14 runs to do"
    assert lines[2] == "all losses at the common learning rate: 10 of 10 runs to do"
    assert lines[3].startswith("known so far: 24 runs, ")
    assert lines[4].startswith("whole, from nothing: at most 54 runs, 27 a loss, ")
    assert lines[5].endswith("such as an H100: lossbench plan compare with the same options")
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_stops_at_its_budget_and_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["compare", "loss=lgl,sml", *SMALL, "seeds=2", "name=first", "results_dir=null"]

    def num_runs() -> int:
        return len(list(tmp_path.glob("outputs/runs/*/result.json")))

    assert "the budget is spent; the same command continues" in invoke(*words, "budget_runs=3").output
    assert num_runs() == 3
    rules = json.loads((tmp_path / "outputs" / FOLDER / "first" / RULES).read_text())
    assert rules["runs_before"] == 0
    assert rules["rules"]["baseline"] == "SML"
    shown = invoke(*words).output
    done = num_runs()
    assert 2 * (7 + 2 * 2 + 2) <= done <= 2 * (17 + 4)
    assert shown.splitlines()[-1].endswith(f"open {Path('outputs') / FOLDER / 'first' / 'index.html'}")
    assert "[1/" not in invoke(*words).output
    assert num_runs() == done
    with pytest.raises(ValueError, match=r"fixed margin 0\.25 on .*, and now it is 1; name="):
        asked_again(*words[1:], "margin=1")


def asked_again(*words: str) -> None:
    """What the command does up to its rules."""
    found = asked(words)
    fix_rules("outputs", found.name or "", comparison_of(found), known_results("outputs", None))


@pytest.mark.long
def test_a_new_user_compares_a_loss_of_a_plugin(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    words = ["compare", "--plugin", "mine.py", "loss=mine,sml", *SMALL, "seeds=2", "results_dir=null"]
    lines = said(tmp_path, "lossbench", *words).splitlines()
    assert lines[0].startswith("Mine; SML on 64 training images of digits with CNN2C, 1 epoch: baseline SML")
    assert (tmp_path / lines[-1].partition("open ")[2]).exists()
    assert "[1/" not in said(tmp_path, "lossbench", *words)
    page = (tmp_path / lines[-1].partition("open ")[2]).read_text()
    assert f"lossbench compare --plugin {tmp_path / 'mine.py'} loss=mine,sml" in page
    again = run(tmp_path, "lossbench", *words, "margin=1")
    assert again.returncode == 1
    assert " fixed margin 0.25 on " in again.stderr


def test_the_quick_form_has_fewer_runs_and_takes_the_images_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = comparison_of(given("loss=focal,sml", "dataset=kmnist"))
    ones = list(quick_comparison.quick_ones(whole, None))
    assert [one.config.dataset.num_train for one in ones] == list(quick_comparison.IMAGES)
    assert {one.config.schedule.epochs for one in ones} == {3}
    assert [ones[0].config.schedule.lr_at(epoch) for epoch in (1, 2, 3)] == pytest.approx([0.01, 0.01, 0.001])
    assert ones[0].rules.num_seeds == 3
    assert ones[0].rules.selection_seeds == (1000,)
    assert ones[0].rules.margin == whole.rules.margin
    digits = list(quick_comparison.quick_ones(comparison_of(given("loss=focal,sml", "dataset=digits")), 2))
    assert [(one.config.dataset.num_train, one.rules.num_seeds) for one in digits] == [(1000, 2)]
    for seconds, images in ((1e-9, 20_000), (1e9, 1000)):
        monkeypatch.setattr("lossbench.training.speed.seconds_per_step", lambda config, known=seconds: known)
        assert quick_comparison.fitting(ones, 2).config.dataset.num_train == images
    assert run_id(ones[0].config) != run_id(whole.config)
