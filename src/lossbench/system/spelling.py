"""Text from outside made safe to show on a terminal, on a page and in a CSV file.

Names of folders and devices and reasons of failures may contain anything, such as escape codes.
"""

from unicodedata import category


def spelled(text: object) -> str:
    """Text on one line; characters that cannot be printed are replaced by escape sequences."""
    known = str(text)
    return known if known.isprintable() else "".join(map(_spelled, known))


def spelled_lines(text: object) -> str:
    """Like `spelled`, with line breaks kept."""
    return "\n".join(map(spelled, str(text).split("\n")))


def counted(number: int, what: str) -> str:
    """A number of things in words, such as "1 job" or "2 jobs"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def csv_cell(value: object) -> object:
    """A cell that no spreadsheet reads as a formula: text that begins like one gets an apostrophe; numbers do not."""
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
