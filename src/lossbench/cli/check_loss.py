"""`lossbench check-loss`: whether a loss is right."""

import contextlib
import os
import sys

import click

from lossbench.cli.parameters import JSON
from lossbench.cli.printing import echo, print_json
from lossbench.properties.verdict import Level, Verdict

TITLES: dict[Level, str] = {"fault": "Faults", "warning": "Warnings", "fact": "Facts"}


@click.command("check-loss")
@click.argument("loss", metavar="FILE:NAME")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the loss; repeatable.")
@click.option(
    "--num-classes",
    default=10,
    show_default=True,
    type=click.IntRange(2, 1000),
    help="Number of classes K of most checks.",
)
@JSON
def check_loss(loss: str, options: tuple[str, ...], num_classes: int, as_json: bool) -> None:
    """Check a loss for faults, in some seconds.

    FILE:NAME is a function of logits [B, K] and target [B] in a Python file, such as my_loss.py:my_loss, a class of
    options, or a torch.nn.Module; or the name of a registered loss. The first line is the verdict. Exit code 0: no
    fault found; 1: a fault, or an error.
    """
    from lossbench.properties.faults import check
    from lossbench.properties.sources import find_loss, known_losses

    given = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not (key and equals):
            raise click.UsageError(f"--option must be KEY=VALUE, got {option}")
        given[key] = value
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # what the loss prints is no result
        name, function = find_loss(loss, given)
        known = {other: made for other, made in known_losses().items() if other != loss or given}
        verdict = check(function, name, num_classes, known)
    if as_json:
        print_json(verdict.as_dict())
    else:
        _print(verdict)
    if verdict.at("fault"):
        sys.exit(1)


def _print(verdict: Verdict) -> None:
    echo(verdict.sentence)
    for level, title in TITLES.items():
        _print_lines(title, [f"{finding.line}." for finding in verdict.at(level)])
    _print_lines("Properties", [f"{name}: {text}" for name, text in verdict.properties.items()])
    _print_lines(
        "Cost of forward and backward, one CPU thread",
        [
            f"logits [{cost.batch_size}, {cost.num_classes}]: {cost.ms:.2f} ms, {cost.ratio:.1f} times torch's "
            f"cross-entropy; keeps {cost.kept:.1f} times the logits' memory"
            for cost in verdict.cost
        ],
    )


def _print_lines(title: str, lines: list[str]) -> None:
    if lines:
        echo("\n".join(["", title, *(f"  {line}" for line in lines)]))
