"""Plugins: a file or a package registers losses from outside, and its digest is part of what a run is called."""

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from test_recipes import blocks

import lossbench
from lossbench.cli.plugins import without_plugins
from lossbench.config import plugins, registry
from lossbench.config.registry import DATASETS, LOSSES, MODELS
from lossbench.config.run import Config, Schedule, name_of, run_id
from lossbench.data.digits import Digits
from lossbench.data.prepared import prepare
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c
from lossbench.studies.study import STUDIES
from lossbench.sweep import pool
from lossbench.sweep.outcome import Ended
from lossbench.training.fit import check
from lossbench.training.trial import try_loss

FOCAL = '''"""A loss of the user's."""

from dataclasses import dataclass

from helper import powered

from lossbench import LossConfig, TrainingClasses, register_loss


@register_loss(label="Focal", probabilities="softmax")
@dataclass
class Focal(LossConfig):
    name: str = "focal"
    focus: float = 2.0

    def build(self, classes: TrainingClasses):
        def focal(logits, target):
            own = logits.log_softmax(1).gather(1, target[:, None])[:, 0]
            return -(powered(1 - own.exp(), self.focus) * own).mean()

        return focal
'''
HELPER = "def powered(base, exponent):\n    return base**exponent\n"
HEAD = "from dataclasses import dataclass\nfrom lossbench import LossConfig, register_loss\n"
SHORT = ("dataset=digits", "model=cnn2c", "dataset.num_train=100", "schedule.epochs=1", "runtime.device=cpu")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What plugins change in a process is put back."""
    for name in LOSSES, MODELS, DATASETS, STUDIES:
        len(name)  # its own are loaded
    before = {name: vars(plugins)[name].copy() for name in ("_loaded", "_loading", "_registered")}
    kept = [(one, dict(one._known), dict(one._sources)) for one in (LOSSES, MODELS, DATASETS, STUDIES)]
    modules, path = set(sys.modules), list(sys.path)
    monkeypatch.delenv(plugins.VARIABLE, raising=False)
    yield
    for name, value in before.items():
        setattr(plugins, name, value)
    for one, known, found in kept:
        one._known, one._sources = known, found
    for name in set(sys.modules) - modules:
        if name.startswith("lossbench_plugin_") or name == "helper":
            del sys.modules[name]
    sys.path[:] = path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder, its name with a space."""
    folder = tmp_path / "my losses"
    folder.mkdir()
    (folder / "focal.py").write_text(FOCAL)
    (folder / "helper.py").write_text(HELPER)
    return folder


def program(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The `lossbench` program in a folder."""
    command = [sys.executable, "-c", "from lossbench.cli.main import main; main()", *arguments]
    source = str(Path(lossbench.__file__).parents[1])
    known = os.environ | {"PYTHONPATH": os.pathsep.join([source, environment.pop("PYTHONPATH", "")])} | environment
    return subprocess.run(command, cwd=folder, env=known, capture_output=True, text=True, check=False)


def records(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("outputs/runs/*/result.json")}


def config_of(loss: Any, tmp_path: Path) -> Config:
    config = Config(Digits(num_train=100), Cnn2c(), loss, Schedule(epochs=1))
    config.runtime.output_dir = str(tmp_path)
    return config


def test_a_loss_of_a_file_goes_from_the_command_line_to_the_record(folder: Path) -> None:
    done = program(folder, "train", "-m", *SHORT, "loss=focal,sml", "seed=0,1", "--plugin", "focal.py")
    assert done.returncode == 0, done.stderr
    found = records(folder)
    own = {name: record for name, record in found.items() if "-focal-" in name}
    assert (len(found), len(own)) == (4, 2)
    for name, record in found.items():
        if name not in own:
            assert "plugins" not in record
            assert record["config"]["plugins"] is None
            assert name == run_id(
                Config(Digits(num_train=100), Cnn2c(), Sml(), Schedule(epochs=1), record["config"]["seed"])
            )
    for name, record in own.items():
        kept = record["plugins"]["loss"]
        assert (kept["label"], kept["plugin"], kept["maps"]) == ("Focal", "focal.py", ["softmax"])
        assert record["config"]["plugins"] == {"loss": kept["sha256"]}
        assert name_of(record["config"], record["numerics"]) == name
        assert set(record["scores"]) == {"softmax", "tempered"}
    # Without the plugin the runs are listed and shown; with it edited they are other runs, and the sweep says so.
    listed = program(folder, "runs", "--json")
    assert {line["run_id"] for line in json.loads(listed.stdout)} == set(found)
    assert program(folder, "verify").returncode == 0
    (folder / "helper.py").write_text(HELPER.replace("base**exponent", "2 * base**exponent"))
    again = program(folder, "train", *SHORT, "loss=focal", "loss.focus=1", LOSSBENCH_PLUGINS="focal.py")
    assert again.returncode == 0, again.stderr
    assert "focal.py has changed: 1 run of another version is kept, and" in again.stdout
    assert len(records(folder)) == 5
    assert all(records(folder)[name] == record for name, record in found.items())


def test_the_files_of_the_documentation_are_plugins(folder: Path) -> None:
    (loss,), (network, dataset) = blocks("README.md"), blocks("docs/extending.md")
    files = {"own_focal.py": loss, "mlp.py": network, "stripes.py": dataset}
    for name, text in files.items():
        (folder / name).write_text(text)
    chosen = ("dataset=stripes", "model=mlp", "loss=focal", "schedule.epochs=2", "runtime.device=cpu")
    done = program(folder, "train", *chosen, LOSSBENCH_PLUGINS=os.pathsep.join(files))
    assert done.returncode == 0, done.stderr
    (record,) = records(folder).values()
    kept = {part: facts["plugin"] for part, facts in record["plugins"].items()}
    assert kept == {"dataset": "stripes.py", "model": "mlp.py", "loss": "own_focal.py"}
    assert [record["plugins"][part]["label"] for part in kept] == ["Stripes", "MLP", "Focal"]
    assert record["num_parameters"] == (784 + 1) * 64 + (64 + 1) * 2
    (cache,) = folder.glob("outputs/cache/stripes-*.npz")
    assert record["plugins"]["dataset"]["sha256"][:16] in cache.name


def test_without_its_plugin_a_loss_is_refused_in_a_sentence(folder: Path) -> None:
    done = program(folder, "train", *SHORT, "loss=focal")
    assert done.returncode == 1
    assert done.stderr.startswith("lossbench: loss=focal: there is no such loss, only lgl, lgl_inr, sml")
    assert not (folder / "outputs").exists()


def test_a_package_registers_by_its_entry_point(folder: Path) -> None:
    package = folder / "site" / "own_losses"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "losses.py").write_text(FOCAL.replace("from helper", "from own_losses.helper"))
    (package / "helper.py").write_text(HELPER)
    described = folder / "site" / "own_losses-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: own-losses\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[lossbench.plugins]\nmine = own_losses.losses\n")

    def listed() -> dict[str, Any]:
        done = program(folder, "losses", "--json", PYTHONPATH=str(folder / "site"))
        assert done.returncode == 0, done.stderr
        return {line["name"]: line for line in json.loads(done.stdout)}

    before = listed()
    assert before["focal"]["plugin"]["name"] == "own_losses"
    assert before["sml"]["plugin"] is None
    (package / "data.csv").write_text("1\n")  # all of the package counts
    assert listed()["focal"]["plugin"]["sha256"] != before["focal"]["plugin"]["sha256"]
    (package / "losses.py").write_text("import nothing_there\n")
    done = program(folder, "losses", PYTHONPATH=str(folder / "site"))
    assert done.returncode == 1
    assert done.stderr == (
        "lossbench: the plugin mine (package own_losses) cannot be loaded: ModuleNotFoundError: No module named "
        "'nothing_there'\n"
    )


@pytest.mark.usefixtures("fresh")
def test_the_digest_is_of_the_file_and_of_what_it_imports_beside_it(folder: Path, tmp_path: Path) -> None:
    def digest(place: Path) -> str:
        return plugins._digest_of(place, plugins._local_files(place))

    file = folder / "focal.py"
    before = digest(file)
    (folder / "other.py").write_text("x = 1\n")  # imported by nothing
    assert digest(file) == before
    folder.rename(tmp_path / "elsewhere")
    file = tmp_path / "elsewhere" / "focal.py"
    assert digest(file) == before
    file.write_text(FOCAL.replace("        def focal", "        import other\n\n        def focal"))  # in a function
    with_other = digest(file)
    assert with_other != before
    (file.parent / "other.py").write_text("x = 2\n")
    assert digest(file) != with_other


@pytest.mark.usefixtures("fresh")
def test_a_run_is_named_by_the_version_of_its_plugin(folder: Path, tmp_path: Path) -> None:
    source = plugins.load_plugin(folder / "focal.py")
    assert plugins.load_plugin(str(folder / "focal.py")) == source
    config = config_of(LOSSES["focal"].options(), tmp_path)
    assert config.plugins == {"loss": source.sha256}
    assert name_of(asdict(config) | {"plugins": {"loss": "0" * 64}}, lossbench.NUMERICS) != run_id(config)
    with pytest.raises(ValueError, match=r"^plugins must be .* which follows from the plugins' files, got "):
        Config(Digits(), Cnn2c(), LOSSES["focal"].options(), Schedule(), plugins={"loss": "0" * 64})
    assert config_of(Sml(), tmp_path).plugins is None
    assert plugins.source_of(Sml) is None


@pytest.mark.usefixtures("fresh")
def test_a_worker_refuses_another_version(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = plugins.load_plugin(folder / "focal.py")
    assert pool._plugins_changed([source]) == ""
    other = plugins.Source(source.place, "0" * 64, is_file=True)
    refusal = pool._plugins_changed([other])
    assert refusal == "the plugin focal.py has changed since the sweep began; run the same command again"
    monkeypatch.setattr(pool, "_refusal", refusal)
    config = config_of(LOSSES["focal"].options(), tmp_path)
    outcome = pool._do(pickle.dumps(config), 0.0, None)
    assert (outcome.ended, outcome.reason) == (Ended.failed, refusal)
    monkeypatch.setattr(pool, "_refusal", "")
    content = pickle.dumps(config)
    monkeypatch.setitem(LOSSES._sources, "focal", other)
    assert pool._do(content, 0.0, None).reason == refusal


def one_loss(name: str = '    name: str = "x"', label: str = "X", dataclass: str = "@dataclass\n") -> str:
    """A file with a loss, of which nothing but the registration is right or wrong."""
    return f'{HEAD}@register_loss(label="{label}")\n{dataclass}class X(LossConfig):\n{name}\n'


UNTRACKED = FOCAL.replace("from helper import powered", "import sys\n\npowered = __import__('hel' + 'per').powered")
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


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("reason", FAULTS)
def test_a_plugin_that_cannot_be_loaded_is_named_with_the_reason(folder: Path, reason: str) -> None:
    file = folder / "faulty.py"
    file.write_text(FAULTS[reason])
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole sentence is compared
        plugins.load_plugin(file)
    assert str(caught.value) == f"the plugin {file} cannot be loaded{reason}"
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("fresh")
def test_a_name_that_another_module_has_is_refused(folder: Path) -> None:
    plugins.load_plugin(folder / "focal.py")
    other = folder / "other"
    other.mkdir()
    (other / "second.py").write_text(FOCAL.replace('"focal"', '"second"').replace('"Focal"', '"Second"'))
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


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("value", VALUES)
def test_a_loss_of_a_wrong_value_is_refused_before_any_work(folder: Path, value: str) -> None:
    text = FOCAL.replace("from helper import powered", "import torch")
    start, end = text.index("            own ="), text.index("\n\n        return focal")
    (folder / "wrong.py").write_text(text[:start] + f"            return {value}" + text[end:])
    plugins.load_plugin(folder / "wrong.py")
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole sentence is compared
        try_loss(LOSSES["focal"].options(), 10)
    assert str(caught.value) == f"loss=focal of wrong.py {VALUES[value]}"


@pytest.mark.usefixtures("fresh")
def test_a_right_loss_passes_and_lossbenchs_own_are_not_tried(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins.load_plugin(folder / "focal.py")
    try_loss(LOSSES["focal"].options(), 10)
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


def changed(folder: Path, number: int, pair: tuple[str, str]) -> None:
    """Load the documentation's network (0) and data set (1), the one of that number with a fault."""
    texts = blocks("docs/extending.md")
    assert pair[0] in texts[number]
    texts[number] = texts[number].replace(*pair)
    for name, text in zip(("mlp.py", "stripes.py"), texts, strict=True):
        (folder / name).write_text(text)
        plugins.load_plugin(folder / name)


def stripes(tmp_path: Path) -> Config:
    config = Config(DATASETS["stripes"].options(), MODELS["mlp"].options(), Sml(), Schedule(epochs=1))
    config.runtime.output_dir = str(tmp_path)
    return config


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("pair", NETWORKS)
def test_a_fault_of_a_network_is_a_sentence(folder: Path, tmp_path: Path, pair: tuple[str, str]) -> None:
    changed(folder, 0, pair)
    with pytest.raises(
        ValueError, match=rf"^model=mlp of mlp\.py fails in build or its network{re.escape(NETWORKS[pair])}"
    ):
        check(stripes(tmp_path))


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("pair", DATA)
def test_a_fault_of_a_data_set_is_a_sentence(folder: Path, tmp_path: Path, pair: tuple[str, str]) -> None:
    changed(folder, 1, pair)
    config = stripes(tmp_path)
    check(config)
    with pytest.raises(ValueError, match=rf"^dataset=stripes of stripes\.py fails in read{re.escape(DATA[pair])}"):
        prepare(config.dataset, config.runtime)


@pytest.mark.usefixtures("fresh")
def test_a_folder_that_is_no_package_is_named(folder: Path) -> None:
    (folder / "parts").mkdir()
    (folder / "parts" / "helper.py").write_text(HELPER)
    (folder / "focal.py").write_text(FOCAL.replace("from helper", "from parts.helper"))
    with pytest.raises(ValueError, match=r"it imports from a folder beside it that has no __init__\.py; add one$"):
        plugins.load_plugin(folder / "focal.py")


@pytest.mark.usefixtures("fresh")
def test_an_edited_data_set_is_prepared_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(Sml(), tmp_path)
    plain = prepare(config.dataset, config.runtime)
    for sha256 in ("a" * 64, "b" * 64):
        monkeypatch.setitem(DATASETS._sources, "digits", plugins.Source(str(folder / "focal.py"), sha256, is_file=True))
        assert prepare(config.dataset, config.runtime).name == plain.name.replace("-v2", f"-{sha256[:16]}-v2")


def test_files_of_the_command_line_come_first_with_absolute_paths(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv(plugins.VARIABLE, os.pathsep.join(["helper.py", ""]))
    assert without_plugins(["train", "--plugin", "focal.py", "loss=focal", "-m"]) == ["train", "loss=focal", "-m"]
    wanted = [str(folder / name) for name in ("focal.py", "helper.py")]
    assert os.environ[plugins.VARIABLE].split(os.pathsep) == wanted
    assert without_plugins(["--plugin=helper.py"]) == []
    assert os.environ[plugins.VARIABLE].split(os.pathsep) == wanted[::-1]
    for wrong, sentence in (
        (["--plugin"], "--plugin must be followed by a Python file"),
        (["--plugin", "none.py"], "there is no plugin none.py; LOSSBENCH_PLUGINS and --plugin name Python files"),
        (["--plugin=."], "there is no plugin .; LOSSBENCH_PLUGINS and --plugin name Python files"),
    ):
        with pytest.raises(ValueError, match=f"^{sentence}$"):
            without_plugins(wrong)


@pytest.mark.usefixtures("fresh")
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
