"""A hook for the tests of killed runs, imported by their configs through `custom_imports`."""

import os
import signal
from pathlib import Path

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from ltcls.registry import HOOKS


@HOOKS.register_module()
class KillHook(Hook):
    """Kills its own process with SIGKILL where LTCLS_TEST_KILL says: 'stage event epoch iteration'.

    Stage is the name of the run's folder, event the name of a hook point, epoch and iteration count
    from 0 and are those of that moment. With LTCLS_TEST_WEIGHTS every rank saves its weights there.
    """

    priority = 'LOWEST'

    def at(self, runner, event: str, batch_idx: int = 0) -> None:
        here = f'{Path(runner.work_dir).name} {event} {runner.epoch} {batch_idx}'
        if os.environ.get('LTCLS_TEST_KILL') == here:
            os.kill(os.getpid(), signal.SIGKILL)

    def before_train(self, runner) -> None:
        self.at(runner, 'before_train')

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.at(runner, 'after_train_iter', batch_idx)

    def after_train(self, runner) -> None:
        self.at(runner, 'after_train')
        folder = os.environ.get('LTCLS_TEST_WEIGHTS')
        if folder:
            model = getattr(runner.model, 'module', runner.model)
            name = f'{Path(runner.work_dir).name}_{get_rank()}.pth'
            torch.save(model.state_dict(), Path(folder) / name)

    def after_test(self, runner) -> None:
        self.at(runner, 'after_test')
