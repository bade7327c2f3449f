"""The paper's training schedules."""

from lossbench.config.run import Schedule


def paper_schedule(dataset: str) -> Schedule:
    """The paper's schedule for a data set, as in `conf/schedule/<dataset>.yaml`."""
    if dataset == "cifar10":
        return Schedule(epochs=100, lr=0.1, momentum=0.9, weight_decay=1e-4, milestones=[0.5, 0.75])
    return Schedule()
