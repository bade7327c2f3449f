"""The import rule of the packages: one way from system to cli, Hydra in cli alone, torch where it is needed."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import lossbench

ROOT = Path(__file__).parents[1]
PACKAGE = Path(lossbench.__file__).parent
PLUGIN = PACKAGE.parent / "hydra_plugins" / "lossbench_plugin.py"

ALLOWED = {
    "system": "",
    "config": "system",
    "data": "config system",
    "models": "config",
    "losses": "config",
    "statistics": "config losses",
    "properties": "config losses",
    "runs": "config data statistics system",
    "training": "config data losses models runs statistics system",
    "sweep": "config data models runs system training",
    "report": "config runs statistics system",
    "studies": "config data losses models report runs statistics system training",
    "engines": "config runs sweep system training",
    "cli": "config data engines properties report runs studies sweep system training",
}
"""What a package may import of the others, now or later in a function; every one may import the package's own numbers.

The order is that of the layers: a package imports only what stands above it here.
"""

WITHOUT_TORCH = (
    "system",
    "config",
    "statistics",
    "properties",
    "runs",
    "report",
    "studies",
    "cli",
    "data.labels",
    "data.npz_file",
)
"""Packages and modules that start without torch."""

MOST_LINES = 400
"""Of a module."""


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def modules() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def imported(path: Path, tree: ast.AST) -> tuple[str, ...]:
    """Full names of what a tree imports, such as lossbench.config.run_id."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(found)


@cache
def at_start(tree: ast.Module) -> ast.Module:
    """The tree without what functions do when they are called, and what only a type checker reads."""

    class WithoutFunctions(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    return WithoutFunctions().visit(ast.parse(ast.unparse(tree)))


def own_imports(path: Path, tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """The modules of this package that a tree imports, such as ("config", "run")."""
    for name in imported(path, tree):
        parts = name.split(".")
        if parts[0] == "lossbench" and len(parts) > 1:
            place = PACKAGE.joinpath(*parts[1:])
            is_module = place.with_suffix(".py").exists() or place.is_dir()
            yield tuple(parts[1:] if is_module else parts[1:-1])


def imports_of_packages() -> dict[str, set[str]]:
    """The packages that each package imports anywhere."""
    found: dict[str, set[str]] = {}
    for path, tree in modules().items():
        own = found.setdefault(package_of(path), set())
        own |= {parts[0] for parts in own_imports(path, tree) if parts}
    found.pop("__init__")
    return {package: others - {package} for package, others in found.items()}


def users_of(package: str) -> set[str]:
    """The files that import a foreign package anywhere."""
    users = set()
    for path, tree in [*modules().items(), (PLUGIN, ast.parse(PLUGIN.read_text()))]:
        if any(name.split(".")[0] == package for name in imported(path, tree)):
            users.add(path.stem)
    return users


def test_a_package_imports_only_what_it_may() -> None:
    found = imports_of_packages()
    assert list(ALLOWED) == sorted(found, key=list(ALLOWED).index), "every package has a line in ALLOWED"
    assert found == {package: set(others.split()) for package, others in ALLOWED.items()}


def test_no_package_imports_what_stands_below_it() -> None:
    order = list(ALLOWED)
    for package, others in ALLOWED.items():
        assert all(order.index(other) < order.index(package) for other in others.split()), package


def test_no_module_imports_itself_through_others() -> None:
    imports = {
        path.relative_to(PACKAGE).with_suffix("").parts: {
            parts for parts in own_imports(path, at_start(tree)) if parts and PACKAGE.joinpath(*parts).suffix == ""
        }
        for path, tree in modules().items()
    }
    known = {parts: {other for other in others if other in imports} - {parts} for parts, others in imports.items()}
    list(TopologicalSorter(known).static_order())  # raises CycleError


def test_studies_import_nothing_of_each_other() -> None:
    folders = {path.name for path in (PACKAGE / "studies").iterdir() if (path / "__init__.py").exists()}
    assert folders >= {"aaai20", "imbalance"}
    for path, tree in modules().items():
        place = path.relative_to(PACKAGE).parts
        if place[0] == "studies":
            own = {place[1]} if len(place) > 2 else set()  # what lies beside the folders knows none of them
            others = {parts[1] for parts in own_imports(path, tree) if parts[:1] == ("studies",) and len(parts) > 1}
            assert others & folders <= own, path


def test_no_module_is_too_long() -> None:
    lines = {path.relative_to(PACKAGE): len(path.read_text().splitlines()) for path in modules()}
    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}


def test_only_training_builds_networks_and_losses() -> None:
    builders = {("models", "build"), ("losses", "build")}
    users = {
        path.relative_to(PACKAGE).parts[0] for path, tree in modules().items() if builders & {*own_imports(path, tree)}
    }
    assert users == {"training", "sweep"}  # a sweep counts operations


def test_hydra_is_known_at_the_command_line_only() -> None:
    assert users_of("hydra") == {"schemas", "overrides", "hydra_main", "lossbench_plugin"}
    assert users_of("omegaconf") == {"schemas", "overrides", "lossbench_plugin"}
    assert not any("instantiate" in path.read_text() for path in modules())
    trees = [*modules().items(), (PLUGIN, ast.parse(PLUGIN.read_text()))]
    internal = {name for path, tree in trees for name in imported(path, tree) if "._internal" in name}
    assert internal == {"hydra._internal.utils.get_args_parser"}  # there is no public way to it


def test_torch_waits_until_it_is_needed() -> None:
    names = ("cli.main", "statistics.inference", "studies.aaai20.report", "runs.archive", "data.labels")
    late = ", ".join(f"lossbench.{name}" for name in names)
    code = f"import sys, {late}; print(bool({{'torch', 'safetensors'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    for path, tree in modules().items():
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if name.startswith(tuple(f"{one}." if "." not in one else one for one in WITHOUT_TORCH)):
            early = {one.split(".")[0] for one in imported(path, at_start(tree))}
            assert not early & {"torch", "torchvision"}, name
        if name.startswith("studies."):  # a measurement trains when it is done, and not before
            assert not any(parts[:1] == ("training",) for parts in own_imports(path, at_start(tree))), name


def test_scripts_only_call_the_command_line() -> None:
    scripts = Path(__file__).parents[1] / "scripts"
    called = {path.stem: list(imported(path, ast.parse(path.read_text()))) for path in scripts.glob("*.py")}
    names = ("train", "reproduce", "reference", "report", "profile_run")
    assert called == {name: [f"lossbench.cli.{name.removesuffix('_run')}.{name}"] for name in names}


def test_every_fault_in_the_documentation_has_its_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    rows = [line for line in (ROOT / "docs" / "reliability.md").read_text().splitlines() if line.endswith("` |")]
    assert len(rows) > 25
    for row in rows:
        name = row.rpartition("| `")[2].removesuffix("` |")
        assert f"def {name}(" in tests, f"there is no {name}"
