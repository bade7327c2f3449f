"""A plugin of a loss as text: its file, a helper beside it, and the head of smaller ones."""

MY_FOCAL = '''"""A loss of the user's."""

from dataclasses import dataclass

from helper import powered

from lossbench import LossConfig, TrainingClasses, register_loss


@register_loss(label="My focal", probabilities="softmax")
@dataclass
class MyFocal(LossConfig):
    name: str = "my_focal"
    focus: float = 2.0

    def build(self, classes: TrainingClasses):
        def my_focal(logits, target):
            own = logits.log_softmax(1).gather(1, target[:, None])[:, 0]
            return -(powered(1 - own.exp(), self.focus) * own).mean()

        return my_focal
'''
HELPER = "def powered(base, exponent):\n    return base**exponent\n"
HEAD = "from dataclasses import dataclass\nfrom lossbench import LossConfig, register_loss\n"
