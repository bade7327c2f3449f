"""What the checks of a loss have found, and the sentence that sums it up."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["fault", "warning", "fact"]


@dataclass(frozen=True)
class Finding:
    """One thing that a check has found.

    Args:
        level: "fault": the loss is wrong; "warning": it may not be what was meant; "fact": neither.
        code: its name for programs, such as "sum_over_batch".
        text: a clause about the loss, "it ..." or "its ...".
        fix: what would remove it, as a sentence without a full stop; empty: not known.
    """

    level: Level
    code: str
    text: str
    fix: str = ""

    @property
    def line(self) -> str:
        """Text and fix in one line."""
        return f"{self.text}; {self.fix}" if self.fix else self.text


@dataclass(frozen=True)
class Verdict:
    """The outcome of all checks of a loss.

    Args:
        name: of the loss, for its sentences.
        num_classes: K of most checks.
        findings: in the order of importance.
        cost: time and memory at each shape of the logits; empty: not measured.
        properties: what the loss is as a function of the logits, a line each by name; empty: not estimated.
    """

    name: str
    num_classes: int
    findings: Sequence[Finding]
    cost: Sequence["Cost"] = ()
    properties: dict[str, str] = field(default_factory=dict)

    def at(self, level: Level) -> list[Finding]:
        """The findings of one level."""
        return [finding for finding in self.findings if finding.level == level]

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        faults = self.at("fault")
        if not faults:
            return f"{self.name}: no fault found."
        more = len(faults) - 1
        others = f" (and {more} more fault{'s' if more > 1 else ''})" if more else ""
        return f"{self.name} is wrong: {faults[0].text}{others}."

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""

        def written(level: Level) -> list[dict[str, str]]:
            return [{"code": one.code, "text": one.text, "fix": one.fix} for one in self.at(level)]

        return {
            "loss": self.name,
            "num_classes": self.num_classes,
            "verdict": self.sentence,
            "ok": not self.at("fault"),
            "faults": written("fault"),
            "warnings": written("warning"),
            "facts": written("fact"),
            "properties": self.properties,
            "cost": [vars(cost) for cost in self.cost],
        }


@dataclass(frozen=True)
class Cost:
    """Time and memory of a loss's forward and backward pass, on one thread of the CPU, float32.

    Args:
        batch_size: B.
        num_classes: K.
        ms: median time in milliseconds.
        ratio: of `ms` to that of torch's cross_entropy.
        kept: memory kept for the backward pass, in multiples of the logits' own.
    """

    batch_size: int
    num_classes: int
    ms: float
    ratio: float
    kept: float


class Findings:
    """Findings as they come in; the first of a code counts."""

    def __init__(self) -> None:
        self._found: dict[str, Finding] = {}

    def fault(self, code: str, text: str, fix: str = "") -> None:
        """Add a fault."""
        self._found.setdefault(code, Finding("fault", code, text, fix))

    def warning(self, code: str, text: str, fix: str = "") -> None:
        """Add a warning."""
        self._found.setdefault(code, Finding("warning", code, text, fix))

    def fact(self, code: str, text: str) -> None:
        """Add a fact."""
        self._found.setdefault(code, Finding("fact", code, text))

    def has(self, *codes: str) -> bool:
        """Whether one of these has been found."""
        return any(code in self._found for code in codes)

    def has_fault(self) -> bool:
        """Whether a fault has been found."""
        return any(finding.level == "fault" for finding in self)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._found.values())
