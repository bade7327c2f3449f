"""Common parts of all commands: options composed by Hydra, stop signals, and one-sentence error messages."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from lossbench.config.run import Config
from lossbench.engines.options import Launcher
from lossbench.studies.options import Reproduce
from lossbench.system.screen import say
from lossbench.system.spelling import spelled_lines
from lossbench.system.stops import stops_interrupt


@contextmanager
def plain_errors() -> Iterator[None]:
    """Print a user's mistake as one sentence and exit with code 1; LOSSBENCH_TRACEBACK=1 shows the traceback.

    In the block, Ctrl-C, SIGTERM and SIGUSR1 end the program with a message. Characters that the terminal's encoding
    lacks are written as "?".
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        with stops_interrupt():
            yield
    except KeyboardInterrupt as stop:
        what = str(stop) or "run the same command again to continue every run after its last finished epoch"
        say(f"stopped; {what}")
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (ValueError, OSError) as error:
        if os.environ.get("LOSSBENCH_TRACEBACK"):
            raise
        say(f"lossbench: {spelled_lines(error)}", sys.stderr)
        sys.exit(1)


def hydra_main(
    name: str, task: Callable[[Any, Launcher], None] | Callable[[Any], None], config_name: str, launches: bool = False
) -> None:
    """Compose the options of the command line and call a task with them.

    Args:
        name: of the command, as in `lossbench NAME`, for error messages.
        task: called once with the composed dataclass, or with a list of them if -m asks for a sweep; not called after
            --cfg, --help and similar options, which only print. With `launches` it is given the launcher as well.
        config_name: the YAML file of conf/ to compose: `config` or `reproduce`, for `Config` or `Reproduce`.
        launches: whether the command can execute runs elsewhere.

    Raises:
        SystemExit: with code 1 after one sentence on a wrong option or value, 130 after Ctrl-C.
    """
    given: list[Any] = []

    def keep(composed: Any) -> None:
        given.append(composed)

    with plain_errors():
        import hydra

        from lossbench.cli.overrides import Command, explained, job_by_job, with_homes, with_launcher
        from lossbench.cli.plugins import without_plugins
        from lossbench.cli.schemas import register_schemas, to_options
        from lossbench.system.shipped import CONF

        typed = without_plugins(sys.argv[1:])
        sys.argv[1:] = typed
        register_schemas()
        to_own = partial(to_options, schema=Config if config_name == "config" else Reproduce)
        sys.argv[1:] = with_launcher(with_homes(sys.argv[1:]))
        with explained(Command(name, CONF, config_name), sys.argv[1:]):
            sys.argv[1:] = job_by_job(sys.argv[1:])
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(keep)()
            options = [list(map(to_own, one)) if isinstance(one, Iterator) else to_own(one) for one in given]
        sys.argv[1:] = [name, *typed]  # a sweep notes the command
        for found in options:  # one, or none after --cfg and the like
            if found == []:
                raise ValueError("the sweep holds no run: one of its ranges or globs is empty")
            config = [config for config, _ in found] if isinstance(found, list) else found[0]
            launcher = found[0][1] if isinstance(found, list) else found[1]
            if launches:
                task(config, launcher)  # type: ignore[call-arg]
            elif launcher.name != "local":
                raise ValueError(f"launcher={launcher.name}: lossbench {name} trains nothing elsewhere; leave it out")
            else:
                task(config)  # type: ignore[call-arg]


def composed_config(overrides: Sequence[str], values: Mapping[str, Any]) -> Config:
    """The config of a run that overrides make of the defaults, without a task.

    Args:
        overrides: as on the command line of `lossbench train`.
        values: of further options, by key, which are typed already.

    Raises:
        ValueError: one of them is wrong; the sentence is that of `lossbench train`.
    """
    config, launcher = composed_options(overrides, values)
    if launcher.name != "local":
        raise ValueError(f"launcher={launcher.name}: this command trains nothing elsewhere; leave it out")
    return config


def composed_options(overrides: Sequence[str], values: Mapping[str, Any]) -> tuple[Config, Launcher]:
    """As `composed_config`, and the options of the launcher."""
    from lossbench.cli.overrides import Command, composed, explained, with_homes, with_launcher
    from lossbench.cli.schemas import register_schemas, to_options
    from lossbench.system.shipped import CONF

    register_schemas()
    command, words = Command("train", CONF, "config"), with_launcher(with_homes(overrides))
    with explained(command, words):
        found: tuple[Config, Launcher] = to_options(composed(command, words, values), Config)
        return found


def one_plan(composed: Reproduce | list[Reproduce]) -> Reproduce:
    """Check and return the composed plan.

    Raises:
        ValueError: -m was used, or the output folder is a file or is not writable.
    """
    from lossbench.system.files import check_folder

    if isinstance(composed, list):
        raise ValueError("-m is for lossbench train; give several tables as tables=[3,5]")
    check_folder(Path(composed.runtime.output_dir), "runtime.output_dir")
    return composed
