"""Values and quantities as the terminal shows them."""

import json
from typing import Any


def plain(value: Any) -> str:
    """A value as it stands; what is not there is a hyphen."""
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)


def rounded(value: Any) -> str:
    """A value of a result, to four digits or so where it is a float."""
    if not isinstance(value, float):
        return plain(value)
    return f"{value:.4g}" if 0 < abs(value) < 0.01 else f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"


def size(num_bytes: int) -> str:
    """Bytes, in the unit that fits."""
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:.1f} kB" if num_bytes else "0 kB"


def age(seconds: float) -> str:
    """Seconds, in the unit that fits."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def flops(count: float) -> str:
    """Floating-point operations, in the unit that fits."""
    return f"{count / 1e15:.3g} PFLOP" if count >= 1e15 else f"{count / 1e12:.3g} TFLOP"
