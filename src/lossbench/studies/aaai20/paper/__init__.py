"""Tables as CSV: the paper's numbers, claims, errors and gaps, and where the study departs from its rules."""

import csv
from importlib.resources import files


def lines(name: str) -> list[dict[str, str]]:
    """The lines of one of the CSV files beside this module, each by column."""
    text = files(__name__).joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
