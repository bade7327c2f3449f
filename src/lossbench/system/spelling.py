"""Foreign text written so that it stays text: on a terminal, on a page, and in a cell of a CSV file.

Names of folders, reasons of failures and names of devices may hold anything, such as escape codes.
"""

from unicodedata import category


def spelled(text: object) -> str:
    """Text on one line; what cannot be printed is spelled out."""
    return "".join(map(_spelled, str(text)))


def spelled_lines(text: object) -> str:
    """Text on as many lines as it has; what cannot be printed is spelled out."""
    return "\n".join(map(spelled, str(text).split("\n")))


def csv_cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula: text that begins as one gets an apostrophe, a number does not."""
    if not isinstance(value, str):
        return value
    text = spelled(value)
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) and not _is_number(text) else text


def _spelled(letter: str) -> str:
    if letter.isprintable() or category(letter) == "Zs":
        return letter
    return " " if letter.isspace() else letter.encode("unicode_escape").decode()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
