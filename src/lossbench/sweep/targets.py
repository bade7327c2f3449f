"""The machines that a plan is asked for, by the words that name them."""

from collections.abc import Iterable
from dataclasses import dataclass

from lossbench.config.run import Runtime
from lossbench.runs.records import Record
from lossbench.sweep.estimate import Place, gpu_place, place_here, place_of
from lossbench.sweep.machines import CORE, GPUS
from lossbench.sweep.plan import Target
from lossbench.system.machine import num_cores


@dataclass(frozen=True)
class Fleet:
    """How many machines there are of each kind, but for this one.

    Args:
        nodes: machines.
        gpus_per_node: GPUs of each.
        cores_per_node: cores of each that runs may use; None: as many as this machine's.
        runs_per_gpu: on every GPU at a time.
    """

    nodes: int = 1
    gpus_per_node: int = 1
    cores_per_node: int | None = None
    runs_per_gpu: int = 1


def target_of(word: str, fleet: Fleet, runtime: Runtime, records: Iterable[Record]) -> Target:
    """The machines that a word stands for.

    Args:
        word: "here" for this machine as it is, "cpu" for its processor, a GPU of `GPUS`, or the name of a processor or
            GPU as measured runs give it.
        fleet: how many there are, but for "here".
        runtime: of the runs; its device decides whether "here" is a GPU.
        records: the measured runs.

    Raises:
        ValueError: there is no such machine.
    """
    if word == "here":
        import torch

        is_gpu = torch.cuda.is_available() and runtime.device != "cpu"
        devices = (torch.cuda.device_count() if ":" not in runtime.device else 1) if is_gpu else num_cores()
        return Target(word, place_here("cuda" if is_gpu else "cpu"), 1, devices, fleet.runs_per_gpu if is_gpu else 1)
    place = _place(word, records)
    if place.machine.kind == "cuda":
        return Target(word, place, fleet.nodes, fleet.gpus_per_node, fleet.runs_per_gpu)
    return Target(word, place, fleet.nodes, fleet.cores_per_node or num_cores())


def _place(word: str, records: Iterable[Record]) -> Place:
    key = word.lower().replace(" ", "")
    if key in ("cpu", *GPUS):
        return place_of(key)
    known = {str(record.fields.get("device_name")): str(record.fields["device"]) for record in records}
    names = [name for name in known if name.lower() == word.lower()]
    if not names:
        processors = ", ".join(f'"{name}"' for name in sorted(known))
        others = f", or the name of one with measured runs: {processors}" if known else ""
        raise ValueError(f"--on {word}: there is no such machine; name here, cpu, one of {', '.join(GPUS)}{others}")
    return gpu_place(names[0]) if known[names[0]] == "cuda" else Place(CORE, names[0])
