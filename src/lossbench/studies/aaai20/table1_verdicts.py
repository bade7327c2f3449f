"""Table 1, simulated: whether the means of the paper and Eq. 10 hold."""

import math
from dataclasses import dataclass

from lossbench.statistics import inference
from lossbench.statistics.inference import CellOutcome, Outcome, Pairs
from lossbench.studies.aaai20 import table1

SIMULATION_MARGIN = 0.05
"""How far from Eq. 10 a simulated ratio may be, as a share of the right-hand side."""


ROUNDING = 0.005
"""How far a mean of Table 1, printed with two decimals, may lie from what it was."""


@dataclass(frozen=True)
class SimulatedCell:
    """A cell of Table 1 beside the paper's."""

    cell: table1.Cell
    printed: table1.Printed
    low: float  # of the 95 % interval for the mean of as many further simulations
    high: float
    equivalence: inference.MarginTest  # left over right side of Eq. 10, less 1

    @property
    def outcome(self) -> CellOutcome:
        """Whether the paper's mean, as it stood before it was rounded, could be one more of ours."""
        if self.printed.mean - ROUNDING > self.high:
            return "paper higher"
        return "paper lower" if self.printed.mean + ROUNDING < self.low else "consistent"


def simulated(simulations: table1.Simulations) -> list[SimulatedCell]:
    """The cells of Table 1, in the order of the simulations."""
    found = []
    for cell in simulations.cells:
        difference = inference.paired_t(Pairs(cell.lhs, 0, 0))
        half_width = (difference.high - difference.mean) * math.sqrt(2)
        ratios = Pairs(tuple(value / cell.rhs - 1 for value in cell.lhs), 0, 0)
        found.append(
            SimulatedCell(
                cell,
                table1.printed()[cell.simulation, cell.lambda_printed],
                cell.mean - half_width,
                cell.mean + half_width,
                inference.tost(ratios, SIMULATION_MARGIN),
            )
        )
    return found


def equation_10(simulations: table1.Simulations) -> dict[str, Outcome]:
    """Whether the simulated values match Eq. 10 in all six cells, by how Sim2's network was trained."""
    cells = [one for one in simulated(simulations) if one.cell.reading == "corrected"]
    return {
        training: inference.claim_outcome(
            [one.equivalence.p for one in chosen], [one.equivalence.refuted for one in chosen]
        )
        for training in ("stopped", "converged")
        if (chosen := [one for one in cells if one.cell.simulation == "Sim1" or one.cell.training == training])
    }
