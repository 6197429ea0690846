"""Metadata is in setup.cfg. Here only: configs/ travels in the wheel, as ltcls/.mim/configs."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Copies configs/ into the build of a wheel. An editable install reads the checkout's own."""

    def _pairs(self):
        target = Path(self.build_lib) / 'ltcls' / '.mim'
        for source in sorted(Path('configs').rglob('*')):
            if source.is_file() and source.suffix in ('.py', '.md', '.yml'):
                yield source, target / source

    def run(self):
        super().run()
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib) / 'ltcls' / '.mim', ignore_errors=True)
            for source, target in self._pairs():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)

    def get_outputs(self, include_bytecode=1):
        configs = [] if self.editable_mode else [str(target) for _, target in self._pairs()]
        return [*super().get_outputs(include_bytecode), *configs]


setup(cmdclass={'build_py': BuildWithConfigs})
