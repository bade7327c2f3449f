"""Faults of plugins: each is one sentence that names the plugin and the reason."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from plugin_files import HEAD, HELPER, MY_FOCAL
from test_recipes import blocks

from lossbench.config import plugins, registry
from lossbench.config.registry import DATASETS, LOSSES, MODELS
from lossbench.config.run import Config, Schedule
from lossbench.data.prepared import prepare
from lossbench.losses.sml import Sml
from lossbench.training.fit import check
from lossbench.training.trial import try_loss


def one_loss(name: str = '    name: str = "x"', label: str = "X", dataclass: str = "@dataclass\n") -> str:
    """A file with a loss, of which nothing but the registration is right or wrong."""
    return f'{HEAD}@register_loss(label="{label}")\n{dataclass}class X(LossConfig):\n{name}\n'


UNTRACKED = MY_FOCAL.replace("from helper import powered", "import sys\n\npowered = __import__('hel' + 'per').powered")
FAULTS = {
    ", line 3: there is already a loss sml; give the new one another name": one_loss('    name: str = "sml"'),
    ", line 3: there is already a loss with the label SML; give x another label": one_loss(label="SML"),
    ", line 3: X is no dataclass; put @dataclass between it and its registration": one_loss(dataclass=""),
    ", line 3: X is named '???'; a name has lower-case letters, digits and _ alone": one_loss("    pass"),
    ": it registers nothing; put @register_loss(label=...) or the like above a class of options": HEAD,
    ": SyntaxError: invalid syntax (faulty.py, line 1)": "def f(:\n",
    ", line 2: ModuleNotFoundError: No module named 'nothing_there'": "\nimport nothing_there\n",
    ", line 1: SystemExit: 3": "raise SystemExit(3)\n",
    ": it imports helper.py in a way that its digest cannot follow; use a plain import": UNTRACKED,
}


@pytest.mark.usefixtures("fresh_plugins")
@pytest.mark.parametrize("reason", FAULTS)
def test_a_plugin_that_cannot_be_loaded_is_named_with_the_reason(own_files: Path, reason: str) -> None:
    file = own_files / "faulty.py"
    file.write_text(FAULTS[reason])
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole sentence is compared
        plugins.load_plugin(file)
    assert str(caught.value) == f"the plugin {file} cannot be loaded{reason}"
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("fresh_plugins")
def test_a_name_that_another_module_has_is_refused(own_files: Path) -> None:
    plugins.load_plugin(own_files / "my_focal.py")
    other = own_files / "other"
    other.mkdir()
    (other / "second.py").write_text(MY_FOCAL.replace('"my_focal"', '"second"').replace('"My focal"', '"Second"'))
    (other / "helper.py").write_text(HELPER)
    with pytest.raises(ValueError, match=r"a module helper is loaded already from .*my losses/helper\.py; rename one$"):
        plugins.load_plugin(other / "second.py")


NO_GRADIENT = "has no finite gradient for its logits; they must take part in what it computes"
CUT = "returns a tensor without gradient; .item(), .detach(), argmax and comparisons cut it off"
INDEX = "IndexError: index 99 is out of bounds for dimension 1 with size 10"
VALUES = {
    "logits.sum(1)": "returns a tensor of shape [8]; it must return one number, such as its .mean()",
    "logits.detach().mean()": CUT,
    "1.0": "returns float; it must return a tensor of one number",
    "(logits * float('nan')).mean()": "returns nan for random logits; it must return a finite number",
    "torch.ones(2, requires_grad=True).sum()": NO_GRADIENT,
    "logits.sqrt().nansum()": NO_GRADIENT,
    "logits[:, 99].mean()": f"fails on logits [8, 10] and target [8]: {INDEX}",
}


@pytest.mark.usefixtures("fresh_plugins")
@pytest.mark.parametrize("value", VALUES)
def test_a_loss_of_a_wrong_value_is_refused_before_any_work(own_files: Path, value: str) -> None:
    text = MY_FOCAL.replace("from helper import powered", "import torch")
    start, end = text.index("            own ="), text.index("\n\n        return my_focal")
    (own_files / "wrong.py").write_text(text[:start] + f"            return {value}" + text[end:])
    plugins.load_plugin(own_files / "wrong.py")
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole sentence is compared
        try_loss(LOSSES["my_focal"].options(), 10)
    assert str(caught.value) == f"loss=my_focal of wrong.py {VALUES[value]}"


@pytest.mark.usefixtures("fresh_plugins")
def test_a_right_loss_passes_and_lossbenchs_own_are_not_tried(own_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins.load_plugin(own_files / "my_focal.py")
    try_loss(LOSSES["my_focal"].options(), 10)
    monkeypatch.setattr(Sml, "build", lambda self, classes: 1 / 0)
    try_loss(Sml(), 10)


NETWORKS = {
    ("return nn.Sequential", "nn.Sequential"): ": AttributeError: 'NoneType' object has no attribute 'apply'",
    ("hidden = nn.Linear(prod(shape)", "hidden = nn.Linear(3"): ": RuntimeError: ",
    ("self.num_hidden, num_classes", "self.num_hidden, 13"): (
        ": the network must return logits [B, 2] for inputs [B, 1, 28, 28], and returns [1, 13] for one input"
    ),
    ("prod(shape)", "product(shape)"): ", line 29: NameError: name 'product' is not defined",
}
DATA = {
    (".astype(np.uint8)", ".astype(np.float32)"): ": train_images must be uint8 [N, C, H, W], got float32",
    ('"test_labels": labels', '"labels": labels'): ": KeyError: 'test_labels'",
    ("% 2\n", "% 2 + 1\n"): ": train_labels must be in 0..1, got 1..2",
    ("images[:NUM_TRAIN]", "images[:9]"): ": train_images must be [400, 1, 28, 28] as sizes says, got [9, 1, 28, 28]",
    (
        "default_rng(0)",
        "default_rgn(0)",
    ): ", line 41: AttributeError: module 'numpy.random' has no attribute 'default_rgn'",
}


def changed(own_files: Path, number: int, pair: tuple[str, str]) -> None:
    """Load the documentation's network (0) and data set (1), the one of that number with a fault."""
    texts = blocks("docs/extending.md")
    assert pair[0] in texts[number]
    texts[number] = texts[number].replace(*pair)
    for name, text in zip(("mlp.py", "stripes.py"), texts, strict=True):
        (own_files / name).write_text(text)
        plugins.load_plugin(own_files / name)


def stripes(tmp_path: Path) -> Config:
    config = Config(DATASETS["stripes"].options(), MODELS["mlp"].options(), Sml(), Schedule(epochs=1))
    config.runtime.output_dir = str(tmp_path)
    return config


@pytest.mark.usefixtures("fresh_plugins")
@pytest.mark.parametrize("pair", NETWORKS)
def test_a_fault_of_a_network_is_a_sentence(own_files: Path, tmp_path: Path, pair: tuple[str, str]) -> None:
    changed(own_files, 0, pair)
    with pytest.raises(
        ValueError, match=rf"^model=mlp of mlp\.py fails in build or its network{re.escape(NETWORKS[pair])}"
    ):
        check(stripes(tmp_path))


@pytest.mark.usefixtures("fresh_plugins")
@pytest.mark.parametrize("pair", DATA)
def test_a_fault_of_a_data_set_is_a_sentence(own_files: Path, tmp_path: Path, pair: tuple[str, str]) -> None:
    changed(own_files, 1, pair)
    config = stripes(tmp_path)
    check(config)
    with pytest.raises(ValueError, match=rf"^dataset=stripes of stripes\.py fails in read{re.escape(DATA[pair])}"):
        prepare(config.dataset, config.runtime)


@pytest.mark.usefixtures("fresh_plugins")
def test_a_folder_that_is_no_package_is_named(own_files: Path) -> None:
    (own_files / "parts").mkdir()
    (own_files / "parts" / "helper.py").write_text(HELPER)
    (own_files / "my_focal.py").write_text(MY_FOCAL.replace("from helper", "from parts.helper"))
    with pytest.raises(ValueError, match=r"it imports from a folder beside it that has no __init__\.py; add one$"):
        plugins.load_plugin(own_files / "my_focal.py")


@pytest.mark.usefixtures("fresh_plugins")
def test_a_class_that_is_in_no_file_is_refused() -> None:
    space: dict[str, Any] = {"__name__": "a_notebook"}
    text = HEAD + '@register_loss(label="X")\n@dataclass\nclass X(LossConfig):\n    name: str = "x"\n'
    sys.modules["a_notebook"] = type(sys)("a_notebook")
    try:
        with pytest.raises(ValueError, match=r"^X is defined in no file; put it in one, so that"):
            exec(text, space)
    finally:
        del sys.modules["a_notebook"]
    assert "x" not in registry.LOSSES
