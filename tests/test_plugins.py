"""Plugins: a file or a package registers losses from outside, and its digest is part of what a run is called."""

import json
import math
import os
import pickle
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from plugin_files import HELPER, MY_FOCAL
from test_recipes import blocks

import lossbench
from lossbench.cli.plugins import without_plugins
from lossbench.config import plugins
from lossbench.config.registry import DATASETS, LOSSES
from lossbench.config.run import Config, Schedule, name_of, run_id
from lossbench.data.digits import Digits
from lossbench.data.prepared import prepare
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c
from lossbench.sweep import pool
from lossbench.sweep.outcome import Ended

SHORT = ("dataset=digits", "model=cnn2c", "dataset.num_train=100", "schedule.epochs=1", "runtime.device=cpu")


def program(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The `lossbench` program in a own_files."""
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


@pytest.mark.long
def test_a_loss_of_a_file_goes_from_the_command_line_to_the_record(own_files: Path) -> None:
    done = program(own_files, "train", "-m", *SHORT, "loss=my_focal,sml", "seed=0,1", "--plugin", "my_focal.py")
    assert done.returncode == 0, done.stderr
    found = records(own_files)
    own = {name: record for name, record in found.items() if "-my_focal-" in name}
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
        assert (kept["label"], kept["plugin"], kept["maps"]) == ("My focal", "my_focal.py", ["softmax"])
        assert record["config"]["plugins"] == {"loss": kept["sha256"]}
        assert name_of(record["config"], record["numerics"]) == name
        assert set(record["scores"]) == {"softmax", "tempered"}
    # Without the plugin the runs are listed and shown; with it edited they are other runs, and the sweep says so.
    listed = program(own_files, "runs", "--json")
    assert {line["run_id"] for line in json.loads(listed.stdout)} == set(found)
    assert program(own_files, "verify").returncode == 0
    (own_files / "helper.py").write_text(HELPER.replace("base**exponent", "2 * base**exponent"))
    again = program(own_files, "train", *SHORT, "loss=my_focal", "loss.focus=1", LOSSBENCH_PLUGINS="my_focal.py")
    assert again.returncode == 0, again.stderr
    assert "my_focal.py has changed: 1 run of another version is kept, and" in again.stdout
    assert len(records(own_files)) == 5
    assert all(records(own_files)[name] == record for name, record in found.items())


def test_the_files_of_the_documentation_are_plugins(own_files: Path) -> None:
    (loss,), (network, dataset) = blocks("README.md"), blocks("docs/extending.md")
    files = {"squentropy.py": loss, "mlp.py": network, "stripes.py": dataset}
    for name, text in files.items():
        (own_files / name).write_text(text)
    chosen = ("dataset=stripes", "model=mlp", "loss=squentropy", "schedule.epochs=2", "runtime.device=cpu")
    done = program(own_files, "train", *chosen, LOSSBENCH_PLUGINS=os.pathsep.join(files))
    assert done.returncode == 0, done.stderr
    (record,) = records(own_files).values()
    kept = {part: facts["plugin"] for part, facts in record["plugins"].items()}
    assert kept == {"dataset": "stripes.py", "model": "mlp.py", "loss": "squentropy.py"}
    assert [record["plugins"][part]["label"] for part in kept] == ["Stripes", "MLP", "Squentropy"]
    assert record["num_parameters"] == (784 + 1) * 64 + (64 + 1) * 2
    (cache,) = own_files.glob("outputs/cache/stripes-*.npz")
    assert record["plugins"]["dataset"]["sha256"][:16] in cache.name


def of_features() -> str:
    """The documentation's loss of features."""
    found = re.search(
        r"^```py\n(\"\"\"Cross-entropy over.*?)^```",
        Path(__file__).parents[1].joinpath("docs/extending.md").read_text(),
        re.DOTALL | re.M,
    )
    assert found
    return found[1]


def test_the_documented_loss_of_features_trains_and_other_needs_are_refused(own_files: Path) -> None:
    (own_files / "few.py").write_text(of_features())
    chosen = ("train", "--plugin", "few.py", *SHORT, "loss=few_classes")
    done = program(own_files, *chosen, "loss.num_sampled=500")
    assert done.returncode == 0, done.stderr
    (record,) = records(own_files).values()
    assert record["test_loss"] == pytest.approx(math.log(1 + 500), abs=0.5)  # logits that are still nearly alike
    (own_files / "few.py").write_text(of_features().replace('needs = "features"', 'needs = "featurs"'))
    done = program(own_files, *chosen)
    assert (done.returncode, done.stdout) == (1, "")
    assert 'has needs = "featurs"; it must be "logits" or "features"' in done.stderr.splitlines()[0]


def test_without_its_plugin_a_loss_is_refused_in_a_sentence(own_files: Path) -> None:
    done = program(own_files, "train", *SHORT, "loss=my_focal")
    assert done.returncode == 1
    assert done.stderr.startswith("lossbench: loss=my_focal: there is no such loss, only ")
    assert not (own_files / "outputs").exists()


def test_a_package_registers_by_its_entry_point(own_files: Path) -> None:
    package = own_files / "site" / "own_losses"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "losses.py").write_text(MY_FOCAL.replace("from helper", "from own_losses.helper"))
    (package / "helper.py").write_text(HELPER)
    described = own_files / "site" / "own_losses-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: own-losses\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[lossbench.plugins]\nmine = own_losses.losses\n")

    def listed() -> dict[str, Any]:
        done = program(own_files, "losses", "--json", PYTHONPATH=str(own_files / "site"))
        assert done.returncode == 0, done.stderr
        return {line["name"]: line for line in json.loads(done.stdout)}

    before = listed()
    assert before["my_focal"]["plugin"]["name"] == "own_losses"
    assert before["sml"]["plugin"] is None
    keys = ("map", "link", "convex", "margin", "cost", "established")
    assert [before["my_focal"][key] for key in keys] == ["softmax", "softmax", None, None, None, {}]
    assert [before["focal"][key] for key in keys[:5]] == ["softmax", "own", False, None, "O(K)"]
    (package / "data.csv").write_text("1\n")  # all of the package counts
    assert listed()["my_focal"]["plugin"]["sha256"] != before["my_focal"]["plugin"]["sha256"]
    (package / "losses.py").write_text("import nothing_there\n")
    done = program(own_files, "losses", PYTHONPATH=str(own_files / "site"))
    assert done.returncode == 1
    assert done.stderr == (
        "lossbench: the plugin mine (package own_losses) cannot be loaded: ModuleNotFoundError: No module named "
        "'nothing_there'\n"
    )


@pytest.mark.usefixtures("fresh_plugins")
def test_the_digest_is_of_the_file_and_of_what_it_imports_beside_it(own_files: Path, tmp_path: Path) -> None:
    def digest(place: Path) -> str:
        return plugins._digest_of(place, plugins._local_files(place))

    file = own_files / "my_focal.py"
    before = digest(file)
    (own_files / "other.py").write_text("x = 1\n")  # imported by nothing
    assert digest(file) == before
    own_files.rename(tmp_path / "elsewhere")
    file = tmp_path / "elsewhere" / "my_focal.py"
    assert digest(file) == before
    file.write_text(
        MY_FOCAL.replace("        def my_focal", "        import other\n\n        def my_focal")
    )  # in a function
    with_other = digest(file)
    assert with_other != before
    (file.parent / "other.py").write_text("x = 2\n")
    assert digest(file) != with_other


@pytest.mark.usefixtures("fresh_plugins")
def test_a_run_is_named_by_the_version_of_its_plugin(own_files: Path, tmp_path: Path) -> None:
    source = plugins.load_plugin(own_files / "my_focal.py")
    assert plugins.load_plugin(str(own_files / "my_focal.py")) == source
    config = config_of(LOSSES["my_focal"].options(), tmp_path)
    assert config.plugins == {"loss": source.sha256}
    assert name_of(asdict(config) | {"plugins": {"loss": "0" * 64}}, lossbench.NUMERICS) != run_id(config)
    with pytest.raises(ValueError, match=r"^plugins must be .* which follows from the plugins' files, got "):
        Config(Digits(), Cnn2c(), LOSSES["my_focal"].options(), Schedule(), plugins={"loss": "0" * 64})
    assert config_of(Sml(), tmp_path).plugins is None
    assert plugins.source_of(Sml) is None


@pytest.mark.usefixtures("fresh_plugins")
def test_a_worker_refuses_another_version(own_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = plugins.load_plugin(own_files / "my_focal.py")
    assert pool._plugins_changed([source]) == ""
    other = plugins.Source(source.place, "0" * 64, is_file=True)
    refusal = pool._plugins_changed([other])
    assert refusal == "the plugin my_focal.py has changed since the sweep began; run the same command again"
    monkeypatch.setattr(pool, "_refusal", refusal)
    config = config_of(LOSSES["my_focal"].options(), tmp_path)
    outcome = pool._do(pickle.dumps(config), 0.0, None)
    assert (outcome.ended, outcome.reason) == (Ended.failed, refusal)
    monkeypatch.setattr(pool, "_refusal", "")
    content = pickle.dumps(config)
    monkeypatch.setitem(LOSSES._sources, "my_focal", other)
    assert pool._do(content, 0.0, None).reason == refusal


@pytest.mark.usefixtures("fresh_plugins")
def test_an_edited_data_set_is_prepared_again(own_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(Sml(), tmp_path)
    plain = prepare(config.dataset, config.runtime)
    for sha256 in ("a" * 64, "b" * 64):
        monkeypatch.setitem(
            DATASETS._sources, "digits", plugins.Source(str(own_files / "my_focal.py"), sha256, is_file=True)
        )
        assert prepare(config.dataset, config.runtime).name == plain.name.replace("-v2", f"-{sha256[:16]}-v2")


def test_files_of_the_command_line_come_first_with_absolute_paths(
    own_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own_files)
    monkeypatch.setenv(plugins.VARIABLE, os.pathsep.join(["helper.py", ""]))
    assert without_plugins(["train", "--plugin", "my_focal.py", "loss=my_focal", "-m"]) == [
        "train",
        "loss=my_focal",
        "-m",
    ]
    wanted = [str(own_files / name) for name in ("my_focal.py", "helper.py")]
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
