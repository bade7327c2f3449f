"""The frame of every command: options composed by Hydra, stop signals, a user's mistake in one sentence."""

import os
import sys
from collections.abc import Callable, Iterator
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
    """A user's mistake is one sentence and exit code 1, no traceback; LOSSBENCH_TRACEBACK=1 shows it.

    Ctrl-C, SIGTERM and SIGUSR1 stop politely from here on. What the terminal's encoding lacks is written as "?".
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        with stops_interrupt():
            yield
    except KeyboardInterrupt:
        say("stopped; every run stands at its last finished epoch, and the same command goes on from there")
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe has seen enough
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
        name: what `lossbench` calls the command; error messages mention it.
        task: called once with the composed dataclass, or with a list of them where -m makes a sweep; not called after
            --cfg, --help and the like, which only print.
        config_name: which YAML file of conf/ is composed: `config` or `reproduce`, for `Config` or `Reproduce`.

    Raises:
        SystemExit: with code 1 after one sentence on a wrong option or value, 130 after Ctrl-C.
    """
    given: list[Any] = []

    def keep(composed: Any) -> None:
        given.append(composed)

    with plain_errors():
        import hydra

        from lossbench.cli.overrides import Command, explained, job_by_job, with_homes
        from lossbench.cli.schemas import register_schemas, to_config
        from lossbench.system.shipped import CONF

        register_schemas()
        to_own = partial(to_config, schema=Config if config_name == "config" else Reproduce)
        sys.argv[1:] = with_homes(sys.argv[1:])
        with explained(Command(name, CONF, config_name), sys.argv[1:]):
            sys.argv[1:] = job_by_job(sys.argv[1:])
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(keep)()
            configs = [list(map(to_own, one)) if isinstance(one, list) else to_own(one) for one in given]
        for config in configs:  # one, or none after --cfg and the like
            if config == []:
                raise ValueError("the sweep holds no run: one of its ranges or globs gives nothing")
            task(config)


def one_plan(composed: Reproduce | list[Reproduce]) -> Reproduce:
    """The composed plan, checked.

    Raises:
        ValueError: -m made a sweep of it, or its output folder is a file or cannot be written.
    """
    from lossbench.system.files import check_folder

    if isinstance(composed, list):
        raise ValueError("-m is for lossbench train; here name several tables as tables=[3,5]")
    check_folder(Path(composed.runtime.output_dir), "runtime.output_dir")
    return composed
