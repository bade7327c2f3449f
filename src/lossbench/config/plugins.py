"""Plugins: Python files and installed packages that register losses, networks, data sets and studies from outside.

Files are named in the environment variable `LOSSBENCH_PLUGINS`, several separated as in PATH; packages have an entry
point in the group `lossbench.plugins`. The digest of a plugin's source is part of the name of every run that uses it,
so an edited loss is another run.
"""

import hashlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from modulefinder import ModuleFinder
from pathlib import Path
from types import ModuleType

VARIABLE = "LOSSBENCH_PLUGINS"
GROUP = "lossbench.plugins"


@dataclass(frozen=True)
class Source:
    """Where something outside lossbench was registered from.

    Args:
        place: absolute path of a file; of a package, the module that its entry point names.
        sha256: of the file and of the files beside it that it imports, or of the whole package; hexadecimal.
        is_file: whether it is a file.
    """

    place: str
    sha256: str
    is_file: bool

    @property
    def name(self) -> str:
        """Without folders: of the file, or of the package."""
        return Path(self.place).name if self.is_file else self.place.partition(".")[0]


_loaded: dict[str, Source] = {}  # by place
_loading: list[Source] = []  # the plugin that is being loaded, if any
_registered: set[str] = set()  # places of the plugins that have registered something
_complete = False


def load_plugins() -> None:
    """Load all plugins that the environment names or that are installed, once.

    Raises:
        ValueError: one cannot be loaded; the sentence names it and the reason.
    """
    global _complete
    if _complete or _loading:
        return
    _complete = True
    try:
        for path in files_named():
            load_plugin(path)
        for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
            _load_package(point)
    except BaseException:
        _complete = False
        raise


def loaded_plugins() -> tuple[Source, ...]:
    """The plugins that have been loaded so far."""
    return tuple(_loaded.values())


def name_plugins(paths: Iterable[str]) -> None:
    """Put files in front of those in the environment variable, all with absolute paths, for this process and workers.

    Raises:
        ValueError: a file is not there.
    """
    files = dict.fromkeys([*(str(_checked(path)) for path in paths), *map(str, files_named())])
    os.environ[VARIABLE] = os.pathsep.join(files)


def load_plugin(path: str | Path) -> Source:
    """Load a plugin's file, once; returns its source.

    Raises:
        ValueError: it is not there, does not run, registers nothing or a taken name, or imports files beside it in a
            way that its digest cannot follow.
    """
    return _load(_checked(path), must_register=True)


def load_file(path: str | Path) -> ModuleType:
    """The module of a Python file, which is loaded as a plugin but need not register anything.

    Raises:
        ValueError: as `load_plugin`.
    """
    file = _checked(path)
    _load(file, must_register=False)
    return sys.modules[_module_name(file)]


def _load(file: Path, must_register: bool) -> Source:
    if str(file) in _loaded:
        return _loaded[str(file)]
    with _plain(str(file), file):
        files = _local_files(file)
        source = Source(str(file), _digest_of(file, files), is_file=True)
        before = set(sys.modules)
        _refuse_clashes(file, files)
        sys.path.insert(0, str(file.parent))
        try:
            with _registering(source, must_register):
                _run(file)
        finally:
            sys.path.remove(str(file.parent))
        sys.path.append(str(file.parent))  # for imports within functions
        _refuse_untracked(file.parent, {file, *files}, set(sys.modules) - before)
    _loaded[str(file)] = source
    return source


def source_of(options: type) -> Source | None:
    """The plugin that a class is registered from; None: it is lossbench's own.

    A class of a module that was imported in another way, such as a script, has that module's file as its source.

    Raises:
        ValueError: the class is defined where there is no file.
    """
    module = options.__module__
    if module.partition(".")[0] == "lossbench":
        return None
    if _loading:
        _registered.add(_loading[-1].place)
        return _loading[-1]
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or not Path(file).is_file():
        raise ValueError(
            f"{options.__name__} is defined in no file; put it in one, so that the names of runs can tell its versions"
        )
    path = Path(file).resolve()
    with _plain(str(path), path):
        return _source_of_file(path)


@cache
def _source_of_file(path: Path) -> Source:
    return Source(str(path), _digest_of(path, _local_files(path)), is_file=True)


def files_named() -> list[Path]:
    """The files in the environment variable."""
    return [_checked(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part.strip()]


def _checked(path: str | Path) -> Path:
    """Absolute path of a plugin's file.

    Raises:
        ValueError: it is not there, or no Python file.
    """
    file = Path(path).expanduser().absolute()
    if not file.is_file():
        raise ValueError(f"there is no plugin {path}; {VARIABLE} and --plugin name Python files")
    if file.suffix != ".py":
        raise ValueError(f"the plugin {path} is no Python file; its name must end in .py")
    return file.resolve()


@contextmanager
def _plain(name: str, file: Path | None = None) -> Iterator[None]:
    """Whatever a plugin raises becomes a ValueError that names the plugin, the line and the reason."""
    try:
        yield
    except (Exception, SystemExit) as error:
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        place = f", line {lines[-1]}" if lines and not isinstance(error, SyntaxError) else ""
        raise ValueError(f"the plugin {name} cannot be loaded{place}: {' '.join(reason.split())}") from error


@contextmanager
def _registering(source: Source, must_register: bool = True) -> Iterator[None]:
    _loading.append(source)
    try:
        yield
    finally:
        _loading.pop()
    if must_register and source.place not in _registered:
        raise ValueError("it registers nothing; put @register_loss(label=...) or the like above a class of options")


def _run(file: Path) -> None:
    """Execute a file as a module whose name is the same in every process."""
    name = _module_name(file)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _module_name(file: Path) -> str:
    return f"lossbench_plugin_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"


def _local_files(file: Path) -> list[Path]:
    """The files below a file's folder that it imports, directly or through others, now or in a function."""
    finder = ModuleFinder([str(file.parent)])
    try:
        finder.run_script(str(file))
    except AttributeError as error:  # modulefinder's way with folders that are no packages
        raise ValueError("it imports from a folder beside it that has no __init__.py; add one") from error
    found = {Path(path).resolve() for module in finder.modules.values() if (path := getattr(module, "__file__", None))}
    return sorted(found - {file})


def _refuse_clashes(file: Path, files: Iterable[Path]) -> None:
    """Refuse modules beside a plugin whose name another module has already: Python would take that one."""
    for path in files:
        parts = path.relative_to(file.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        there = getattr(sys.modules.get(name), "__file__", None)
        if there is not None and Path(there).resolve() != path:
            raise ValueError(f"it imports {path.name}, and a module {name} is loaded already from {there}; rename one")


def _refuse_untracked(folder: Path, known: set[Path], modules: Iterable[str]) -> None:
    """Refuse imports from a plugin's folder that `_local_files` cannot see, such as those by a computed name."""
    for name in sorted(modules):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is None or not os.path.isabs(file):  # torch has modules of made-up files
            continue
        path = Path(file).resolve()
        if path.is_relative_to(folder) and "site-packages" not in path.parts and path not in known:
            raise ValueError(f"it imports {path.name} in a way that its digest cannot follow; use a plain import")


def _digest_of(file: Path, files: Iterable[Path]) -> str:
    """SHA-256 of a file's content and of others' paths beside it and contents."""
    digest = hashlib.sha256(file.read_bytes())
    for path in files:
        digest.update(f"\0{path.relative_to(file.parent).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _load_package(point: EntryPoint) -> None:
    """Load the module that an entry point names; the digest is of its whole top-level package."""
    if point.module in _loaded:
        return
    with _plain(f"{point.name} (package {point.module.partition('.')[0]})"):
        spec = importlib.util.find_spec(point.module.partition(".")[0])
        if spec is None or spec.origin is None:
            raise ValueError(f"there is no module {point.module}; install its package again, or remove it")
        source = Source(point.module, _digest_of_package(Path(spec.origin)), is_file=False)
        with _registering(source):
            point.load()
    _loaded[point.module] = source


def _digest_of_package(origin: Path) -> str:
    if origin.name != "__init__.py":
        return _digest_of(origin, [])
    files = (path for path in origin.parent.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return _digest_of(origin, sorted(set(files) - {origin}))
