"""Settings and fixtures of all tests: one thread, which is fastest for small tensors and repeatable to the bit.

Property tests try the same examples every time and store none.
"""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import Phase, settings
from invented import Known, all_of_cnn2c
from kinds_of_runs import Invoke, Made, make_all

from lossbench.cli.main import lossbench
from lossbench.studies.aaai20.verdicts import Judge
from lossbench.studies.results import known_results

RESULTS = Path(__file__).parents[1] / "results"

torch.set_num_threads(1)
settings.register_profile(
    "same",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=100,
    report_multiple_bugs=False,
    phases=(Phase.explicit, Phase.generate),  # add Phase.shrink to have a counterexample made small
)
settings.load_profile("same")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """One run of each kind below `outputs` of the present folder."""
    monkeypatch.chdir(tmp_path)
    return make_all()


@pytest.fixture
def invoke() -> Invoke:
    """The command as a program calls it, its exit code the process's."""

    def call(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(lossbench, words)
        assert result.exit_code == code, result.output
        return result

    return call


@pytest.fixture
def cnn2c() -> Known:
    """All CNN2C cells of the paper's condition, invented."""
    return all_of_cnn2c()


@pytest.fixture(scope="session")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """The verdicts on the committed records."""
    return Judge(known_results(tmp_path_factory.mktemp("none"), RESULTS))
