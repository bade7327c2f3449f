"""Values and quantities formatted for the terminal."""

import json
from typing import Any


def plain(value: Any) -> str:
    """A value as text; None becomes a hyphen."""
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)


def rounded(value: Any) -> str:
    """A value of a result; floats are rounded to about four digits."""
    if not isinstance(value, float):
        return plain(value)
    return f"{value:.4g}" if 0 < abs(value) < 0.01 else f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"


def size(num_bytes: int) -> str:
    """A number of bytes in a suitable unit."""
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:.1f} kB" if num_bytes else "0 kB"


def age(seconds: float) -> str:
    """A duration in seconds in a suitable unit."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def flops(count: float) -> str:
    """A number of floating-point operations in a suitable unit."""
    return f"{count / 1e15:.3g} PFLOP" if count >= 1e15 else f"{count / 1e12:.3g} TFLOP"
