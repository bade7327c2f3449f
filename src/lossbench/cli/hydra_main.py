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
    except KeyboardInterrupt:
        say("stopped; run the same command again to continue every run after its last finished epoch")
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (ValueError, OSError) as error:
        if os.environ.get("LOSSBENCH_TRACEBACK"):
            raise
        say(f"lossbench: {spelled_lines(error)}", sys.stderr)
        sys.exit(1)


def hydra_main(name: str, task: Callable[[Any], None], config_name: str) -> None:
    """Compose the options of the command line and call a task with them.

    Args:
        name: of the command, as in `lossbench NAME`, for error messages.
        task: called once with the composed dataclass, or with a list of them if -m asks for a sweep; not called after
            --cfg, --help and similar options, which only print.
        config_name: the YAML file of conf/ to compose: `config` or `reproduce`, for `Config` or `Reproduce`.

    Raises:
        SystemExit: with code 1 after one sentence on a wrong option or value, 130 after Ctrl-C.
    """
    given: list[Any] = []

    def keep(composed: Any) -> None:
        given.append(composed)

    with plain_errors():
        import hydra

        from lossbench.cli.overrides import Command, explained, job_by_job, with_homes
        from lossbench.cli.plugins import without_plugins
        from lossbench.cli.schemas import register_schemas, to_config
        from lossbench.system.shipped import CONF

        sys.argv[1:] = without_plugins(sys.argv[1:])
        register_schemas()
        to_own = partial(to_config, schema=Config if config_name == "config" else Reproduce)
        sys.argv[1:] = with_homes(sys.argv[1:])
        with explained(Command(name, CONF, config_name), sys.argv[1:]):
            sys.argv[1:] = job_by_job(sys.argv[1:])
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(keep)()
            configs = [list(map(to_own, one)) if isinstance(one, Iterator) else to_own(one) for one in given]
        for config in configs:  # one, or none after --cfg and the like
            if config == []:
                raise ValueError("the sweep holds no run: one of its ranges or globs is empty")
            task(config)


def composed_config(overrides: Sequence[str], values: Mapping[str, Any]) -> Config:
    """The config of a run that overrides make of the defaults, without a task.

    Args:
        overrides: as on the command line of `lossbench train`.
        values: of further options, by key, which are typed already.

    Raises:
        ValueError: one of them is wrong; the sentence is that of `lossbench train`.
    """
    from lossbench.cli.overrides import Command, composed, explained, with_homes
    from lossbench.cli.schemas import register_schemas, to_config
    from lossbench.system.shipped import CONF

    register_schemas()
    command, words = Command("train", CONF, "config"), with_homes(overrides)
    with explained(command, words):
        config: Config = to_config(composed(command, words, values), Config)
        return config


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
