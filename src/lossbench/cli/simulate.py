"""`lossbench simulate`: simulates the paper's Table 1."""

from pathlib import Path

import click

from lossbench.cli.parameters import OUTPUT_DIR, RESULTS_DIR
from lossbench.cli.printing import echo, print_table
from lossbench.system.files import check_folder


@click.command()
@click.option(
    "--num-repetitions", default=100, show_default=True, type=click.IntRange(min=2), help="Repetitions of every cell."
)
@click.option("--publish", is_flag=True, help="Write to the committed results instead of the output folder.")
@RESULTS_DIR
@OUTPUT_DIR
def simulate(num_repetitions: int, publish: bool, results_dir: str, output_dir: str) -> None:
    """Simulate the paper's Table 1.

    Both simulations of Eq. 10 under three weights: mean and standard deviation of the left-hand side over the
    repetitions, and the paper's numbers.
    """
    from lossbench.studies.aaai20 import table1

    folder = results_dir if publish else output_dir
    check_folder(Path(folder), "--results-dir" if publish else "--output-dir")
    done = table1.simulate(num_repetitions)
    head = ["simulation", "training", "reading", "lambda_0 printed", "corrected", "RHS", "LHS (sd)", "paper's (sd)"]
    rows = []
    for cell in done.cells:
        words = [cell.simulation, cell.training, cell.reading, cell.lambda_printed, cell.lambda_corrected]
        paper = table1.printed()[cell.simulation, cell.lambda_printed]
        rows.append([*words, f"{cell.rhs:g}", *(f"{side.mean:.2f} ({side.sd:.2f})" for side in (cell, paper))])
    print_table(head, rows, right=head[5:])
    echo(f"\n{num_repetitions} repetitions in {done.wall_s} s: {table1.write(done, folder)}")
