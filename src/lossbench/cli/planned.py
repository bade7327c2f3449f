"""The runs that a command would do, found without doing any: for `lossbench plan`."""

import json
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lossbench.cli.hydra_main import hydra_main, one_plan
from lossbench.config.run import Config, Runtime, run_id
from lossbench.engines.options import JobLauncher, Launcher
from lossbench.runs.folder import open_run
from lossbench.runs.records import Record, all_records


@dataclass(frozen=True)
class Block:
    """Runs that a command does in one go; the next block begins when all of them have ended.

    Args:
        title: of the block; empty if there is one only.
        configs: all its runs, by name.
        finished: names of those that are done.
        diverged: names of those that diverged and are not repeated.
    """

    title: str
    configs: Mapping[str, Config]
    finished: Collection[str] = ()
    diverged: Collection[str] = ()

    @property
    def todo(self) -> list[Config]:
        """The runs that are left."""
        done = {*self.finished, *self.diverged}
        return [config for name, config in self.configs.items() if name not in done]


@dataclass
class Planned:
    """What a command would do.

    Args:
        command: as in `lossbench COMMAND`.
        runtime: where and how the runs would be done.
        blocks: the runs, as far as they are known before any of them is done.
        records: the measured runs that it knows, own and committed.
        notes: sentences on what is not known yet.
    """

    command: str
    runtime: Runtime
    blocks: list[Block]
    records: Mapping[str, Record]
    notes: list[str] = field(default_factory=list)


def planned(command: str, words: Sequence[str], has_gpu: bool | None) -> Planned | None:
    """The runs of a command line; None if it only prints, as with `--cfg`.

    Args:
        command: "train", "reproduce", "reference" or "compare".
        words: what follows it on the command line.
        has_gpu: whether the runs are planned for a GPU; None: for this machine as it is.

    Raises:
        ValueError: a word is wrong.
    """
    if command == "compare":
        return _of_compare(words)
    of: dict[str, tuple[str, Callable[[Any], Planned]]] = {
        "train": ("config", _of_train),
        "reproduce": ("reproduce", lambda composed: _of_reproduce(composed, has_gpu)),
        "reference": ("reproduce", lambda composed: _of_reference(composed, has_gpu)),
    }
    config_name, task = of[command]
    found: list[Planned] = []
    sys.argv[1:] = words

    def plan(composed: Any, launcher: Launcher) -> None:
        found.append(task(_as_launched(composed, launcher)))

    hydra_main(command, plan, config_name, launches=True)
    return found[0] if found else None


def _as_launched(composed: Any, launcher: Launcher) -> Any:
    """The composed options with as many threads as the launcher gives to a run, if they name none."""
    if isinstance(composed, list):
        return [_as_launched(one, launcher) for one in composed]
    if not isinstance(launcher, JobLauncher) or composed.runtime.num_threads is not None:
        return composed
    return replace(composed, runtime=replace(composed.runtime, num_threads=launcher.cpus_per_run))


def share_left(config: Config) -> float:
    """What is left of a run's epochs, in (0, 1], if it was begun and stopped here."""
    try:
        last = open_run(config).last_metrics()
        epoch = int(json.loads(last)["epoch"]) if last else 0
    except (KeyError, OSError, TypeError, ValueError):
        epoch = 0
    left = config.schedule.epochs - epoch
    return left / config.schedule.epochs if 0 < left < config.schedule.epochs else 1.0


def _block(title: str, configs: Iterable[Config], finished: Collection[str], diverged: Collection[str] = ()) -> Block:
    named = {run_id(config): config for config in configs}
    own = {name for name, config in named.items() if name not in finished and open_run(config).finished}
    done = own.union(finished) & named.keys()
    return Block(title, named, done, set(diverged) & named.keys() - done)


def _of_train(composed: Config | list[Config]) -> Planned:
    """Own finished runs alone are skipped: `train` does a run that is committed, and one that diverged."""
    from lossbench.system import shipped

    configs = composed if isinstance(composed, list) else [composed]
    runtime = configs[0].runtime
    records = all_records(runtime.output_dir, shipped.RESULTS).records
    block = _block("", configs, ())
    committed = sum(name in records for name in block.configs.keys() - set(block.finished))
    note = f"in the committed records: {committed} of the runs to do; lossbench train does not use them"
    return Planned("train", runtime, [block], records, [note] if committed else [])


def _of_reproduce(composed: Any, has_gpu: bool | None) -> Planned:
    from lossbench.cli.reproduce import choose_profile
    from lossbench.studies.aaai20 import grid
    from lossbench.studies.options import Profile

    plan = one_plan(composed)
    if plan.profile is Profile.auto and has_gpu is not None:
        profile, why = ("paper", "planned for a GPU") if has_gpu else ("quick", "planned for a processor")
    else:
        profile, why = choose_profile(plan)
    records = all_records(plan.runtime.output_dir, plan.results_dir).records
    configs = grid.configs(plan.tables, profile, plan.seeds, plan.runtime)
    other = "quick" if profile == "paper" else "paper"
    note = f"profile {profile} ({why}); profile={other} selects the other"
    return Planned("reproduce", plan.runtime, [_block("", configs, records)], records, [note])


def _of_reference(composed: Any, has_gpu: bool | None) -> Planned:
    import torch

    from lossbench.cli.reference import checked_plan
    from lossbench.studies.results import known_results
    from lossbench.studies.study import Known, studies
    from lossbench.system.machine import is_bf16_faster

    plan = checked_plan(composed)
    if has_gpu is None:
        has_gpu = torch.cuda.is_available() and plan.runtime.device != "cpu"
    available = known_results(plan.runtime.output_dir, plan.results_dir)
    known = Known(has_gpu, plan.runtime, available.accuracy, has_gpu or is_bf16_faster(torch.device("cpu")))
    blocks = [
        _block(name, configs, available.found.records, available.found.diverged)
        for study in studies()
        for name, configs in study.plan(known)
    ]
    later = sum(not block.configs for block in blocks)
    notes = [f"{later} blocks have no runs known yet; they follow from the results of others"] if later else []
    return Planned("reference", plan.runtime, [block for block in blocks if block.configs], available.records, notes)


def _of_compare(words: Sequence[str]) -> Planned:
    from lossbench.cli.compare import EXPERIMENT
    from lossbench.cli.comparing import asked, comparison_of
    from lossbench.studies.results import known_results

    given = asked([word for word in words if word != "--quick"])
    if given.quick or "--quick" in words:
        raise ValueError("a quick comparison is made to take two minutes on this machine; plan it without quick")
    comparison = comparison_of(given)
    runtime = comparison.config.runtime
    known = known_results(runtime.output_dir, given.results_dir)
    done, diverged = known.found.records, known.found.diverged
    plan = comparison.plan(known.accuracy, EXPERIMENT, runtime)
    blocks = [_block(title, configs, done, diverged) for title, configs in plan if configs]
    each = sum(comparison.rules.most_runs)
    note = (
        f"the runs of later blocks follow from the accuracies of these: at most {len(comparison.losses) * each} runs "
        f"in all, {each} a loss"
    )
    return Planned("compare", runtime, blocks, known.records, [note])
