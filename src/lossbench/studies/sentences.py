"""Sentences of others that a study judges: the verdict on each, with the evidence for and against it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lossbench.report.blocks import Table
from lossbench.report.table import table
from lossbench.report.tone import toned
from lossbench.statistics.inference import Outcome
from lossbench.studies.results import Results
from lossbench.studies.study import Planned


@dataclass(frozen=True)
class Judged:
    """A sentence and its verdict.

    Args:
        sentence: as it was said, or what it claims.
        outcome: by the study's rules; None: the runs that decide are not all done.
        evidence_for: what speaks for it, with numbers and n; empty: nothing does.
        evidence_against: what speaks against it, likewise.
        setting: what the verdict is about: data set, network, n.
        instead: what stands in place of the verdict where the runs give none, one of `report.tone.TONES`; empty: the
            outcome.
    """

    sentence: str
    outcome: Outcome | None
    evidence_for: str
    evidence_against: str
    setting: str
    instead: str = ""

    @property
    def word(self) -> str:
        """The verdict as tables write it."""
        return self.instead or self.outcome or "not yet tested"


def sentences_table(judged: Iterable[Judged], caption: str) -> Table:
    """The sentences with their verdicts, a row each."""
    rows = {
        one.sentence: {
            "Verdict": toned(one.word),
            "For": one.evidence_for or "nothing here",
            "Against": one.evidence_against or "nothing here",
            "Setting": one.setting,
        }
        for one in judged
    }
    return table(rows, ["Sentence"], caption)


def plan_state(planned: Sequence[Planned], results: Results) -> str:
    """How much of a study's plan is done, in a sentence.

    Args:
        planned: the study's, as `Study.planned` gives it; what follows from runs that are not done is not in it yet.
        results: all known runs.
    """
    names = {results.name(config) for _, configs in planned for config in configs}
    diverged = names & results.diverged
    done = len(names & (results.records.keys() | results.diverged))
    told = f", {len(diverged)} of them diverged" if diverged else ""
    rest = f"; {len(names) - done} are not" if done < len(names) else ""
    return f"{done} of {len(names)} runs planned so far are done{told}{rest}."
