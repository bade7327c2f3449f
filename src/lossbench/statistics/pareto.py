"""The Pareto front of two numbers of which less is better."""

import math
from collections.abc import Sequence


def pareto_front(costs: Sequence[float], losses: Sequence[float]) -> list[int]:
    """Places of those to which no other is preferable, by rising cost.

    Another one is preferable if neither of its numbers is larger and one is smaller; of equals all stay. What has a
    number that is not finite is never on the front.

    Args:
        costs: the first number.
        losses: the second.

    Returns:
        Places in `costs`; of equal costs in their order.
    """
    known = [
        place
        for place, both in enumerate(zip(costs, losses, strict=True))
        if all(math.isfinite(number) for number in both)
    ]
    found: list[int] = []
    for place in sorted(known, key=lambda place: (costs[place], losses[place])):
        last = found[-1] if found else None
        if last is None or losses[place] < losses[last] or (costs[place], losses[place]) == (costs[last], losses[last]):
            found.append(place)
    return found
