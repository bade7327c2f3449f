"""Pictures of quality over cost: each method at the end of its runs, and in their course."""

import math

from lossbench.data.words import Words
from lossbench.report.blocks import Picture
from lossbench.report.course_figure import CourseLine, CoursePoint, course_picture, mean_course
from lossbench.report.tradeoff_figure import TradeoffPoint, tradeoff_picture
from lossbench.statistics.inference import pair, paired_t
from lossbench.studies.many_classes import plan, step_times
from lossbench.studies.many_classes.evidence import Evidence, tests_of

_MEASURE = "test NLL (nats)"
_TEXT = f"Next word in Austen, K={Words().vocabulary:,}"


def tradeoff(known: Evidence) -> Picture:
    """NLL at equal steps over the cost of a step, a point for each method of as many epochs as SML."""
    points = [_point(known, one) for one in plan.METHODS if one.epochs == plan.EPOCHS]
    setting = f"{_TEXT}, {plan.EPOCHS} epochs, own learning rates. {plan.OTHER_MAPS} {_on_what(known)}"
    return tradeoff_picture(points, "many_classes_tradeoff", "cost of a step (times SML's)", setting, _MEASURE)


def _point(known: Evidence, one: plan.Method) -> TradeoffPoint:
    nlls, cost, lost = known.of(one.label), known.cost(one.label, 1.0), known.num_diverged(one.label)
    mean = paired_t(pair(nlls, [0.0] * len(nlls)))
    label, num = split(one)
    return TradeoffPoint(
        label,
        one.kind,
        num,
        math.nan if cost is None else cost,
        mean.mean,
        mean.low,
        mean.high,
        len(nlls),
        len(nlls) + lost == known.compared.comparison.rules.num_seeds,
        lost,
    )


def split(one: plan.Method) -> tuple[str, int | None]:
    """A method's label without its number of draws, and that number where the label ends with it."""
    end = f", m={one.num_sampled}"
    return (one.label.removesuffix(end), one.num_sampled) if one.label.endswith(end) else (one.label, None)


def course(known: Evidence) -> Picture:
    """NLL at the tests of the runs over the cost until then, a line for each method."""
    lines = [CourseLine(one.label, one.kind, _course(known, one)) for one in plan.METHODS]
    setting = (
        f"{_TEXT}, own learning rates; the cost is the number of epochs times the time of a step "
        f"over SML's. {_on_what(known)}"
    )
    return course_picture(lines, "many_classes_course", "cost (epochs of SML)", setting, _MEASURE)


def _course(known: Evidence, one: plan.Method) -> tuple[CoursePoint, ...]:
    """The means over the finished runs; empty without one, or while the cost is not measured."""
    each = known.cost(one.label, 1.0)
    cell = next(loss for loss in known.compared.losses if loss.label == one.label).at_own.cell
    if each is None or cell is None:
        return ()
    records = [record for config in cell.configs if (record := known.results.record(config)) is not None]
    return mean_course([[(test.epochs * each, test.nll) for test in tests_of(record)] for record in records])


def _on_what(known: Evidence) -> str:
    found = step_times.setting(known.results)
    return f"Time of a step: {found}." if found else "The time of a step is not yet measured."
