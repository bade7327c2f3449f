"""A plugin for tests: SML that waits SLOW_S seconds at every step, so that runs can be disturbed."""

import os
import time
from dataclasses import dataclass

from lossbench import LossConfig, TrainingClasses, register_loss


@register_loss(label="Slow SML", probabilities="softmax")
@dataclass
class SlowSml(LossConfig):
    """SML that waits."""

    name: str = "slow_sml"

    def build(self, classes: TrainingClasses):
        """The loss."""
        pause = float(os.environ.get("SLOW_S", "0"))

        def slow_sml(logits, target):
            time.sleep(pause)
            return -logits.log_softmax(1).gather(1, target[:, None]).mean()

        return slow_sml
