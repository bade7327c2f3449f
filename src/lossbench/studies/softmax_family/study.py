"""The study of what the Softmax family of losses gives."""

from collections.abc import Iterator

from lossbench.config.run import Config
from lossbench.report.blocks import Section
from lossbench.studies.results import Results
from lossbench.studies.softmax_family import plan
from lossbench.studies.study import Accuracy, Known, Planned, Study, register_study


@register_study
class SoftmaxFamily(Study):
    """Fenchel-Young losses and their relatives on ten classes."""

    name = "softmax_family"
    title = "What does the Softmax family of losses give?"
    rules = "docs/softmax_family.md"
    place = -1

    def plan(self, known: Known) -> Iterator[Planned]:
        return plan.blocks(known.accuracy, known.runtime)

    def read_logits(self, accuracy: Accuracy) -> Iterator[Config]:
        for dataset in plan.DATASETS:
            yield from plan.comparison(dataset).with_logits(accuracy, plan.NUM_WITH_LOGITS)

    def summary(self, results: Results) -> Section:
        """The answer in three sentences, a picture, the verdicts, and what would change it."""
        from lossbench.studies.softmax_family import summary, verdicts

        return Section(self.title, summary.blocks(verdicts.family(results), results, self.planned(results)))

    def sections(self, results: Results) -> list[Section]:
        """A section for each data set that has a run of its own, then one for each question."""
        from lossbench.studies.comparison_page import folded
        from lossbench.studies.gradient_dynamics import dynamics_blocks
        from lossbench.studies.softmax_family import sections, verdicts

        gist = (
            "Rules: docs/softmax_family.md; paired t with Holm over the losses, margin 0.25 points, own learning rates."
        )
        found = [
            folded(f"{self.title} {label}", plan.comparison(dataset), results, f"softmax_family_{dataset}_", gist)
            for dataset, label in plan.DATASETS.items()
        ]
        setting = "Fashion-MNIST, CNN2C, each loss at its own learning rate"
        dynamics = dynamics_blocks(plan.traced(results.accuracy), results, "softmax_family_", setting)
        gradients = Section(
            f"{self.title} Gradients",
            dynamics,
            "Softmax family: gradients",
            "Norm by p_y, zeros and Hessian of the loss in the logits during training; description, n=2.",
            by_arrays=True,
        )
        return [*filter(None, found), *sections.sections(verdicts.family(results)), *([gradients] if dynamics else [])]
