"""Puts `conf/` and the records of `results/` into the wheel, which have their one copy at the top of the repository."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithConf(build_py):
    """Builds the packages and adds `lossbench/conf` and `lossbench/results`; an editable install needs neither."""

    def run(self) -> None:
        """Build; modules that an earlier build left are removed, or they would be in the wheel as well."""
        if self.editable_mode:
            super().run()
            return
        package = Path(self.build_lib, "lossbench")
        shutil.rmtree(package, ignore_errors=True)
        super().run()
        for source in [*ROOT.glob("conf/**/*.yaml"), *ROOT.glob("results/**/*.json"), *ROOT.glob("results/*.jsonl")]:
            target = package / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


setup(cmdclass={"build_py": BuildWithConf})
