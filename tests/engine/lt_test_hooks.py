"""Parts for the tests of the engine, imported by their configs through `custom_imports`."""

import os
import signal
import time
from pathlib import Path

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from torch import Tensor, nn

from ltcls.models import Classifier
from ltcls.registry import HOOKS, MODELS


@HOOKS.register_module()
class KillHook(Hook):
    """Sends its own process a signal where LTCLS_TEST_KILL says: 'stage event epoch iteration'.

    Stage is the name of the run's folder, event the name of a hook point, epoch and iteration count
    from 0 and are those of that moment. The signal is SIGKILL, or the one LTCLS_TEST_SIGNAL names.
    With LTCLS_TEST_WEIGHTS every rank saves its weights there, and how often it drew each class.
    """

    priority = 'LOWEST'

    def at(self, runner, event: str, batch_idx: int = 0) -> None:
        here = f'{Path(runner.work_dir).name} {event} {runner.epoch} {batch_idx}'
        if os.environ.get('LTCLS_TEST_KILL') == here:
            os.kill(os.getpid(), signal.Signals[os.environ.get('LTCLS_TEST_SIGNAL', 'SIGKILL')])

    def before_train(self, runner) -> None:
        self.drawn = torch.zeros(10, dtype=torch.int64)
        self.at(runner, 'before_train')

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.drawn += torch.bincount(data_batch['labels'], minlength=10)
        self.at(runner, 'after_train_iter', batch_idx)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.at(runner, 'after_val_iter', batch_idx)

    def after_train(self, runner) -> None:
        self.at(runner, 'after_train')
        folder = os.environ.get('LTCLS_TEST_WEIGHTS')
        if folder:
            model = getattr(runner.model, 'module', runner.model)
            name = f'{Path(runner.work_dir).name}_{get_rank()}'
            torch.save(model.state_dict(), Path(folder) / f'{name}.pth')
            torch.save(self.drawn, Path(folder) / f'{name}_drawn.pth')

    def after_test(self, runner) -> None:
        self.at(runner, 'after_test')


@HOOKS.register_module()
class FaultHook(Hook):
    """Spoils training on one rank at some moments, given as (epoch, iteration) from 0.

    What is spoilt: the losses of a batch become `value`, or with `weight` the first weight of the
    head does after the iteration, or with `breaks` an error is raised.
    """

    def __init__(self, moments, rank=0, value='nan', weight=False, breaks=False):
        self.moments = [tuple(moment) for moment in moments]
        self.rank, self.value, self.weight, self.breaks = rank, float(value), weight, breaks

    def due(self, runner, batch_idx) -> bool:
        return (runner.epoch, batch_idx) in self.moments and get_rank() == self.rank

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if not self.due(runner, batch_idx):
            return
        if self.breaks:
            print(f'broken at {time.time()}', flush=True)
            raise ValueError(f'rank {self.rank} is broken on purpose')
        if not self.weight:
            data_batch['weights'] = torch.full((len(data_batch['labels']),), self.value)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self.weight and self.due(runner, batch_idx):
            runner.model.head.weight.data[0, 0] = self.value


@MODELS.register_module()
class FlatBackbone(nn.Module):
    """Pixels, one linear layer, tanh: a thousandth of a second a batch, no batch norm."""

    num_features = 16

    def __init__(self, pixels: int = 64):
        super().__init__()
        self.layer = nn.Linear(pixels, self.num_features)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs.flatten(1).to(self.layer.weight.dtype)).tanh()


@MODELS.register_module()
class DoubleClassifier(Classifier):
    """Features, logits and losses in float64."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.backbone.double()
        self.head.double()

    def extract(self, inputs: Tensor) -> Tensor:
        return self.backbone(inputs)

    def logits(self, features: Tensor, head=None) -> Tensor:
        return self.head(features)
