"""`lossbench evaluate`: tests the saved weights of a run, on its own test samples or on another data set."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from lossbench.cli import shown
from lossbench.cli.hydra_main import composed_config
from lossbench.cli.parameters import JSON, OUTPUT_DIR, run_arguments
from lossbench.cli.printing import echo, print_json, print_lines, print_table
from lossbench.config.options import TRAINING_ONLY
from lossbench.config.run import Config, Runtime
from lossbench.runs.search import search
from lossbench.system.spelling import spelled

if TYPE_CHECKING:
    from lossbench.training.evaluate_run import RunEvaluation

RUNTIME = ("device", "num_threads", "data_dir", "download")
"""The options of `runtime` that an evaluation has."""


@click.command()
@run_arguments("name", 1)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@OUTPUT_DIR
@JSON
def evaluate(name: str, overrides: Sequence[str], output_dir: str, as_json: bool) -> None:
    """Test the saved weights of a run.

    The run was trained with runtime.save_weights=true. Without more it is tested on its own test samples, and the
    numbers are those of its record. dataset=NAME tests on another data set with images of the same shape and as many
    classes; dataset.OPTION=VALUE changes an option of that, or of the run's own. runtime.device=cpu says where;
    runtime.num_threads, runtime.data_dir and runtime.download are read as well.
    """
    given = _by_key(overrides)
    (found,) = search([name], output_dir)
    if found.run is None or found.record is None:
        raise ValueError(f"{found.id} is {found.status}, and only finished runs are evaluated")
    from lossbench.training.evaluate_run import evaluate_run

    own: dict[str, Any] = found.record.fields["config"]["dataset"]
    config = _composed(given, own) if given else None
    runtime = replace(config.runtime if config else Runtime(), output_dir=output_dir)
    another = config is not None and any(key.partition(".")[0] == "dataset" for key in given)
    result = evaluate_run(found.record, found.run.folder, config.dataset if config and another else None, runtime)
    if as_json:
        print_json(asdict(result))
    else:
        _print(result, own["name"])


def _by_key(overrides: Sequence[str]) -> dict[str, str]:
    """The overrides by their keys.

    Raises:
        ValueError: one is of a key that an evaluation does not have.
    """
    given: dict[str, str] = {}
    for text in overrides:
        key = text.partition("=")[0]
        group, _, option = key.partition(".")
        if "=" not in text or not (group == "dataset" or (group == "runtime" and option in RUNTIME)):
            options = ", ".join(f"runtime.{key}" for key in RUNTIME)
            raise ValueError(
                f"{text} is no option of evaluate, which takes dataset=..., dataset.<option>=... and {options}; all "
                "else is the run's"
            )
        if group == "dataset" and option in TRAINING_ONLY:
            raise ValueError(
                f"{text} would change no test sample, and all are normalised as in the run's training; leave it out"
            )
        if key in given:
            raise ValueError(f"{key} is given twice, as {given[key]} and as {text}; keep one of them")
        given[key] = text
    return given


def _composed(given: Mapping[str, str], own: Mapping[str, Any]) -> Config:
    """The defaults with the overrides; of the run's own data set with its own options, where they name no other.

    Args:
        given: overrides by key.
        own: the options of the run's data set.
    """
    words = list(given.values())
    if "dataset" in given or not any(key.startswith("dataset.") for key in given):
        return composed_config(words, {})
    chosen = {key: value for key, value in own.items() if key not in ("name", *TRAINING_ONLY) and value is not None}
    kept = {f"dataset.{key}": value for key, value in chosen.items()}
    if "dataset.path" in given:
        kept.pop("dataset.sha256", None)
    values = {key: value for key, value in kept.items() if key not in given}
    return composed_config([f"dataset={own['name']}", *words], values)


def _print(result: "RunEvaluation", trained_on: str) -> None:
    place = f"{result.device} ({result.device_name}), {result.precision}"
    echo(spelled(f"{result.run_id} on {result.dataset['name']}: {result.num_test} test samples, {place}"))
    known = result.recorded or {}
    rows = [["accuracy", f"{result.accuracy:.4f}", _beside(result.accuracy, known.get("test_accuracy"))]]
    rows += [["loss", f"{result.loss:.4f}", _beside(result.loss, known.get("test_loss"))]]
    rows += [[key, shown.rounded(value), ""] for key, value in result.metrics.items()]
    head = ["test", "value", "record"] if known else ["test", "value"]
    print_table(head, [row[: len(head)] for row in rows], right=("value",))
    if result.scores:
        keys = ("nll", "brier", "ece", "adaptive_ece", "overconfidence")
        lines = [[key, *(f"{scores[name]:.4f}" for name in keys)] for key, scores in result.scores.items()]
        echo("")
        print_table(["probabilities", *keys], lines, right=keys)
    else:
        print_lines(["no scores of probabilities: there are more than 100 classes"])
    echo("")
    if result.as_recorded:
        print_lines(["as in the record: accuracy, loss and every score are the same"])
    elif result.recorded:
        print_lines(
            [f"not the same to the last digit as the record, made on {known['device']} ({known['device_name']})"]
        )
    else:
        print_lines([f"inputs are normalised as in training, with the constants of {trained_on}"])


def _beside(value: float, recorded: Any) -> str:
    return "the same" if value == recorded else shown.rounded(recorded)
