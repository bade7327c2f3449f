"""The recipes of containers, which are not built here: what they copy is there, and their shell can be parsed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "containers" / "Dockerfile"
APPTAINER = ROOT / "containers" / "lossbench.def"


def sections() -> dict[str, str]:
    """The sections of the Apptainer recipe, by name."""
    parts = re.split(r"^%(\w+)\n", APPTAINER.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def copied_by_docker() -> set[str]:
    lines = re.findall(r"^COPY (.+)$", DOCKERFILE.read_text(), re.MULTILINE)
    return {source for line in lines for source in line.split()[:-1]}


def copied_by_apptainer() -> set[str]:
    return {line.split()[0] for line in sections()["files"].splitlines() if line.strip()}


def test_both_copy_the_same_files_and_all_that_an_installation_needs() -> None:
    assert copied_by_docker() == copied_by_apptainer()
    assert all((ROOT / name).exists() for name in copied_by_docker())
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not copied_by_docker() & set(ignored)
    rule = re.search(r"^\.venv/extras: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert rule is not None
    assert {name for name in rule[1].split() if not name.startswith(".venv")} <= copied_by_docker()


def test_both_have_the_same_base_and_take_the_commit() -> None:
    base = re.search(r"^FROM (.+)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert base is not None
    assert f"From: {base[1]}\n" in APPTAINER.read_text()
    assert "LOSSBENCH_COMMIT=$COMMIT" in DOCKERFILE.read_text()
    assert 'LOSSBENCH_COMMIT="{{ commit }}"' in sections()["environment"]
    assert sections()["arguments"].strip() == "commit="


@pytest.mark.parametrize("name", ["post", "environment", "runscript", "test"])
def test_the_shell_of_the_apptainer_recipe_can_be_parsed(name: str) -> None:
    subprocess.run(["sh", "-n"], input=sections()[name], text=True, check=True)


def test_a_linter_finds_nothing_in_the_dockerfile() -> None:
    beside = Path(sys.executable).with_name("hadolint")
    linter = str(beside) if beside.exists() else shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not installed; make extras installs it")
    done = subprocess.run([linter, "--no-color", str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
