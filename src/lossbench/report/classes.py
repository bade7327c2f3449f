"""Names of classes, for figures and tables."""

from collections.abc import Sequence

from lossbench.config.registry import DATASETS


def class_names(dataset: str, num_classes: int, chosen: Sequence[int] | None = None) -> tuple[str, ...]:
    """The names of the classes in the order of their labels.

    Args:
        dataset: as registered.
        num_classes: K, the number of classes of the run.
        chosen: the labels of the data set that the run is about, in its order; None: all.

    Returns:
        K names; the numbers 0 to K - 1 where the data set has no names, is not registered, or has other classes.
    """
    try:
        known = DATASETS[dataset].options(name=dataset).class_names() or ()
    except (KeyError, TypeError, ValueError):  # not registered, or it needs options
        known = ()
    if chosen:
        known = tuple(known[label] for label in chosen if label < len(known))
    return tuple(known) if len(known) == num_classes else tuple(map(str, range(num_classes)))
