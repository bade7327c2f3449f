"""The import rule of the rooms: one way from config to report, Hydra at the doors, torch where it is needed."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import lossbench

ROOT = Path(__file__).parents[1]
PACKAGE = Path(lossbench.__file__).parent
PLUGIN = PACKAGE.parent / "hydra_plugins" / "lossbench_plugin.py"

ALLOWED = {
    "__init__": "",
    "choices": "",
    "config": "choices files",
    "files": "",
    "spelling": "",
    "shown": "",
    "randomness": "",
    "metrics": "",
    "stops": "",
    "paper": "",
    "environment": "",
    "schemas": "config",
    "overrides": "",
    "experiments": "choices config",
    "npz": "files",
    "imbalance": "",
    "subsets": "config imbalance randomness",
    "published": "config files screen subsets",
    "data": "choices config files imbalance npz published randomness subsets",
    "models": "choices config",
    "weighting": "",
    "losses": "choices config weighting",
    "optimizer": "config",
    "runs": "config files",
    "checks": "config files npz",
    "records": "checks config runs",
    "screen": "",
    "tracking": "config screen spelling",
    "steps": "choices config data metrics optimizer",
    "capture": "",
    "tracing": "config losses metrics steps",
    "resuming": "runs",
    "training": "calibration capture choices config data environment files losses metrics models optimizer randomness "
    "resuming runs screen steps tracing tracking",
    "arms": "config experiments",
    "labels": "imbalance",
    "results": "config experiments inference records runs",
    "classes": "config experiments inference labels results same_images",
    "verdicts": "arms claims classes config experiments inference results simulation",
    "confirmation": "arms claims experiments inference records replication results verdicts",
    "scales": "config data tracing training",
    "profiling": "config data environment steps training",
    "sweep": "config data environment models runs screen steps stops tracking training",
    "inference": "",
    "same_images": "inference",
    "archive": "calibration checks files records runs",
    "hours": "config data records",
    "lean": "archive config data labels records results studies",
    "pilots": "arms choices config environment experiments",
    "replication": "arms choices config experiments",
    "studies": "arms choices config experiments pilots replication",
    "fitting": "",
    "calibration": "",
    "adjustment": "calibration",
    "theory": "adjustment calibration choices config diagnostics inference labels results studies",
    "mechanism": "",
    "noise": "inference",
    "simulation": "checks environment files fitting runs",
    "claims": "arms experiments",
    "report": "adjustment arms calibration choices claims classes config confirmation diagnostics experiments files "
    "inference labels mechanism noise pilots records replication results runs simulation spelling studies "
    "theory verdicts",
    "diagnostics": "weighting",
    "housekeeping": "checks config files records runs",
    "paths": "files",
    "commands": "archive files housekeeping lean paths runs shown simulation spelling",
    "cli": "archive choices commands config environment experiments files hours housekeeping lean overrides profiling "
    "records report results runs schemas screen simulation spelling stops studies sweep",
}
"""What a room may import of the others, now or later in a function; all may import the package's own numbers."""

LATE_TORCH = (
    "__init__",
    "config",
    "experiments",
    "files",
    "screen",
    "paths",
    "runs",
    "records",
    "checks",
    "report",
    "cli",
    "paper",
    "housekeeping",
    "commands",
    "inference",
    "same_images",
    "arms",
    "labels",
    "imbalance",
    "results",
    "classes",
    "claims",
    "verdicts",
    "diagnostics",
    "weighting",
    "environment",
    "archive",
    "lean",
    "confirmation",
    "replication",
    "calibration",
    "adjustment",
    "mechanism",
    "noise",
    "pilots",
    "studies",
    "theory",
    "fitting",
    "simulation",
)
"""Rooms that start without torch."""


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def imported(path: Path, tree: ast.AST) -> Iterator[str]:
    """Full names of what a tree imports, such as lossbench.config.run_id."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_start(tree: ast.Module) -> ast.Module:
    """The tree without what functions do when they are called, and what only a type checker reads."""

    class WithoutFunctions(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    return WithoutFunctions().visit(ast.parse(ast.unparse(tree)))


def imports_of_rooms() -> dict[str, set[str]]:
    """The rooms that each room imports anywhere."""
    found: dict[str, set[str]] = {}
    rooms = {room_of(path) for path in modules()}
    for path, tree in modules().items():
        own = found.setdefault(room_of(path), set())
        own |= {parts[1] for name in imported(path, tree) if (parts := name.split("."))[0] == "lossbench"} & rooms
    return {room: others - {room} for room, others in found.items()}


def users_of(package: str) -> set[str]:
    """The files that import a foreign package anywhere."""
    users = set()
    for path, tree in [*modules().items(), (PLUGIN, ast.parse(PLUGIN.read_text()))]:
        if any(name.split(".")[0] == package for name in imported(path, tree)):
            users.add(path.stem)
    return users


def test_a_room_imports_only_what_it_may() -> None:
    found = imports_of_rooms()
    assert set(found) == set(ALLOWED), "every room has a line in ALLOWED"
    beyond = {room: others - set(ALLOWED[room].split()) for room, others in found.items()}
    assert {room: others for room, others in beyond.items() if others} == {}


def test_imports_go_one_way() -> None:
    order = list(TopologicalSorter(imports_of_rooms()).static_order())  # raises CycleError
    assert set(order) == set(ALLOWED)
    within = {
        path.stem: {name.split(".")[2] for name in imported(path, tree) if name.startswith("lossbench.losses.")}
        for path, tree in modules().items()
        if room_of(path) == "losses"
    }
    list(TopologicalSorter(within).static_order())


def test_only_training_joins_data_models_and_losses() -> None:
    joined = {"data", "models", "losses"}
    assert {room for room, others in imports_of_rooms().items() if joined <= others} == {"training"}
    assert {room for room, others in imports_of_rooms().items() if "losses" in others} == {"tracing", "training"}


def test_hydra_is_known_at_the_entry_points_only() -> None:
    assert users_of("hydra") == {"schemas", "overrides", "cli", "lossbench_plugin"}
    assert users_of("omegaconf") == {"schemas", "overrides", "lossbench_plugin"}
    assert not any("instantiate" in path.read_text() for path in modules())


def test_torch_waits_until_it_is_needed() -> None:
    early = {
        room_of(path)
        for path, tree in modules().items()
        if any(name.split(".")[0] in ("torch", "torchvision") for name in imported(path, at_start(tree)))
    }
    assert early & set(LATE_TORCH) == set()
    late = ", ".join(
        f"lossbench.{room}" for room in ("cli", "commands", "inference", "report", "simulation", "verdicts")
    )
    code = f"import sys, {late}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_scripts_are_doors_to_the_command_line() -> None:
    scripts = Path(__file__).parents[1] / "scripts"
    doors = {path.stem: list(imported(path, ast.parse(path.read_text()))) for path in scripts.glob("*.py")}
    names = ("train", "reproduce", "reference", "report", "profile_run")
    assert doors == {name: [f"lossbench.cli.{name}"] for name in names}


def test_every_fault_in_the_documentation_has_its_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    rows = [line for line in (ROOT / "docs" / "reliability.md").read_text().splitlines() if line.endswith("` |")]
    assert len(rows) > 25
    for row in rows:
        name = row.rpartition("| `")[2].removesuffix("` |")
        assert f"def {name}(" in tests, f"there is no {name}"
