"""docs/losses.md and `lossbench losses` say what the losses state; plugins state maps and properties too."""

import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner

from lossbench.cli.plugins import losses
from lossbench.config import plugins
from lossbench.config.properties import FLAGS
from lossbench.config.registry import LOSSES, plugin_facts
from lossbench.properties.facts import stated
from lossbench.training.trial import try_loss

ROOT = Path(__file__).parents[1]

OWN_MAP = """
from dataclasses import dataclass
import numpy as np
from lossbench import LossConfig, Properties, register_loss

@register_loss(label="Doubled", properties=Properties(convex=True, smoothness="2 * K", cost="O(K)"))
@dataclass
class Doubled(LossConfig):
    name: str = "doubled"

    def build(self, classes):
        return lambda logits, target: -(2 * logits).log_softmax(1).gather(1, target[:, None]).mean()

METHOD
"""


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import write_losses

    return write_losses


def documented_method() -> str:
    found = re.search(
        r"^```py\n(    def probabilities.*?)^```", (ROOT / "docs/extending.md").read_text(), re.DOTALL | re.M
    )
    assert found is not None
    return found[1]


def test_the_page_is_up_to_date(tool: ModuleType) -> None:
    assert tool.page() == tool.PATH.read_text(), "python tools/write_losses.py brings it up to date"


def test_the_page_has_a_row_and_an_entry_for_every_loss() -> None:
    text = (ROOT / "docs" / "losses.md").read_text()
    for name, facts in LOSSES.items():
        if facts.options.needs == "features":
            assert f"| `{name}` | {facts.options.__doc__}" in text
            continue
        assert f"| [{name}](#{name}) |" in text
        assert f"\n### {name}\n" in text
    row = next(line for line in text.splitlines() if line.startswith("| [gce]"))
    assert [cell.strip() for cell in row.split("|")[2:10]] == [
        "softmax",
        "own",
        "no",
        "no",
        "yes",
        "yes",
        "yes",
        "0.236",
    ]
    assert "b_k = sigmoid(z_k - log(K - 1))" in " ".join(text.split())


def test_readme_and_pages_link_it() -> None:
    assert "(docs/losses.md)" in (ROOT / "README.md").read_text()
    for page in ("extending", "commands", "files"):
        assert "(losses.md)" in (ROOT / "docs" / f"{page}.md").read_text()


def test_json_has_all_properties() -> None:
    done = CliRunner().invoke(losses, ["--json"])
    assert done.exit_code == 0, done.output
    lines = {line["name"]: line for line in json.loads(done.output)}
    assert list(lines) == list(LOSSES)
    for name, line in lines.items():
        assert {"name", "label", "options", "plugin", "map", "link", "predicts", "cost", *FLAGS} <= line.keys()
        assert all(line[flag] in (True, False, None) for flag in FLAGS)
        assert line.items() >= stated(LOSSES[name]).items()
    sml, inr = lines["sml"], lines["lgl_inr"]
    assert [sml[flag] for flag in FLAGS] == [True] * 5
    assert (sml["smoothness"], sml["gradient_bound"], sml["margin"], sml["sparse"]) == ("1 / 2", "sqrt(2)", None, False)
    assert (inr["batch_dependent"], inr["recoverable"], inr["map"]) == (True, None, "shifted")
    assert lines["sparsemax"]["margin"] == 1
    assert lines["ldam"]["established"]["top1_consistent"].startswith("tested: two classes near a tie")


def test_the_table_shows_properties() -> None:
    done = CliRunner().invoke(losses)
    head, *rows = done.output.splitlines()
    assert re.split(r"  +", head)[3:12] == [
        "map",
        "link",
        "convex",
        "proper",
        "recoverable",
        "top-1",
        "order",
        "margin",
        "cost",
    ]
    (row,) = [row for row in rows if row.startswith("entmax ")]
    assert re.split(r"  +", row)[2:11] == ["own", "own", "yes", "yes", "yes", "yes", "yes", "2", "O(K log K)"]


@pytest.mark.usefixtures("fresh_plugins")
def test_a_plugin_states_map_and_properties(tmp_path: Path) -> None:
    file = tmp_path / "doubled.py"
    file.write_text(OWN_MAP.replace("METHOD", documented_method()))
    plugins.load_plugin(file)
    facts = LOSSES["doubled"]
    assert (facts.maps, facts.posterior, facts.compared) == (("own", "softmax"), "own", "own")
    p = facts.options().probabilities(np.array([[0.0, np.log(3.0)]]), None)
    np.testing.assert_allclose(p, [[0.1, 0.9]])
    try_loss(facts.options(), 4)
    line = stated(facts, "doubled.py")
    assert (line["convex"], line["smoothness"], line["recoverable"]) == (True, "2 * K", None)
    assert line["established"]["convex"] == "stated by the plugin doubled.py"
    assert facts.properties is not None
    assert facts.properties.bound("smoothness", 5) == 10
    kept = plugin_facts({"dataset": "digits", "model": "cnn2c", "loss": "doubled"})["loss"]
    assert json.loads(json.dumps(kept))["maps"] == ["own", "softmax"]


WRONG = {
    "logits": "must return probabilities [8, 4] >= 0 that sum to 1, or None, in probabilities",
    "abs(logits)[:, :2]": "must return probabilities [8, 4] >= 0 that sum to 1, or None, in probabilities",
    "nothing": "fails in probabilities, for logits [8, 4]: NameError: name 'nothing' is not defined",
}


@pytest.mark.usefixtures("fresh_plugins")
@pytest.mark.parametrize("returned", WRONG)
def test_a_wrong_map_is_refused_before_training(tmp_path: Path, returned: str) -> None:
    file = tmp_path / "doubled.py"
    file.write_text(
        OWN_MAP.replace("METHOD", f"    def probabilities(self, logits, counts):\n        return {returned}\n")
    )
    plugins.load_plugin(file)
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole sentence is compared
        try_loss(LOSSES["doubled"].options(), 4)
    assert str(caught.value) == f"loss=doubled of doubled.py {WRONG[returned]}"
