"""SWA: the average of the weights over the last epochs."""

import torch
from mmengine.dist import all_reduce_params
from mmengine.hooks import Hook
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ltcls.registry import HOOKS

from .unwrap import bare


@HOOKS.register_module()
class SWAHook(Hook):
    """Stochastic weight averaging.

    From epoch `begin` on the weights at the end of each epoch enter an average with equal shares.
    At the end of the last epoch, before its checkpoint and its test, the average becomes the
    model, and batch-norm statistics are measured anew in one pass over the training data.

    Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, UAI 2018,
    Algorithm 1, which keeps the learning rate constant or cyclic meanwhile; that is the schedule's
    affair. mmengine's `EMAHook` averages every iteration, has no pass for batch norm, and starts
    anew when the runner goes on to the test.

    Args:
        begin: first epoch that is averaged, counted from 0.

    Raises:
        ValueError: a negative epoch.
    """

    def __init__(self, begin: int):
        if begin < 0:
            raise ValueError(f'SWAHook got begin={begin}; epochs count from 0.')
        self.begin = begin
        self.count = 0
        self.average: list[Tensor] = []

    def before_train(self, runner) -> None:
        if 0 < runner.max_epochs <= self.begin:
            runner.logger.warning(f'SWAHook begins at epoch {self.begin}, but training ends after '
                                  f'{runner.max_epochs}: nothing will be averaged.')

    def after_train_epoch(self, runner) -> None:
        model = bare(runner.model)
        if runner.epoch >= self.begin:
            self.update(list(model.parameters()))
        if runner.epoch + 1 == runner.max_epochs and self.count:
            with torch.no_grad():
                torch._foreach_copy_(list(model.parameters()), self.average)
            measure_batch_norm(model, (model.data_preprocessor(batch, True)['inputs']
                                       for batch in runner.train_dataloader))

    def update(self, weights: list[Tensor]) -> None:
        """Take one more set of weights into the average."""
        if not self.count:
            self.average = [weight.detach().clone() for weight in weights]
        else:
            with torch.no_grad():
                average = [kept.to(w.device) for kept, w in zip(self.average, weights)]
                torch._foreach_lerp_(average, list(weights), 1 / (self.count + 1))
                self.average = average
        self.count += 1

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        if self.count:
            checkpoint['swa'] = dict(count=self.count, average=self.average)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if 'swa' in checkpoint:
            self.count, self.average = checkpoint['swa']['count'], checkpoint['swa']['average']


@torch.no_grad()
def measure_batch_norm(model: nn.Module, batches) -> None:
    """Running statistics as the plain averages over all batches of images.

    Layers in frozen parts keep theirs. On several ranks the statistics are averaged over ranks.
    """
    training = model.training
    model.train()
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training
             and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    if norms:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None      # torch's sign for an average with equal shares
        for inputs in batches:
            model(inputs)
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum
        all_reduce_params([value for norm in norms
                           for value in (norm.running_mean, norm.running_var)], op='mean')
    model.train(training)
