"""What torch's fused optimizers do not settle by themselves."""

import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper

from ltcls.registry import HOOKS

IMPLEMENTATION = ('fused', 'foreach', 'capturable')


@HOOKS.register_module()
class FusedOptimizerHook(Hook):
    """A fused optimizer starts with its momentum at zero, and stays fused when a run goes on.

    torch's fused SGD makes the momentum of a weight in its first step. Where float16 loss scaling
    or `--on-nan skip` leaves that step out, the momentum holds whatever the memory held; where a
    weight gets its first gradient later than others, the step fails. A momentum of zero makes the
    same first step. A checkpoint also names the implementation that it was made with, which is
    another on another device: the optimizer keeps its own. Adam's, unless fused, counts its steps
    on the host; the counts that a resumed run reads to its device would make every step wait.

    Raises:
        ValueError: at the start of training; a fused SGD with dampening, whose first step no value
            of the momentum gives.
    """

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if not isinstance(runner.optim_wrapper, OptimWrapper):      # a test has none
            return
        own = runner.optim_wrapper.optimizer.defaults
        state = checkpoint.get('optimizer', {})
        for group in state.get('param_groups', ()):
            group.update({key: own[key] for key in IMPLEMENTATION if key in group and key in own})
        if not (own.get('fused') or own.get('capturable')):
            steps_to_host(state)

    def before_train(self, runner) -> None:
        if isinstance(runner.optim_wrapper, OptimWrapper):
            start_momentum(runner.optim_wrapper.optimizer)


def steps_to_host(state: dict) -> None:
    """Have the counts of steps in the state of an optimizer lie on the host."""
    for values in state.get('state', {}).values():
        if isinstance(values.get('step'), torch.Tensor):
            values['step'] = values['step'].cpu()


def start_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Give a fused SGD its momentum buffers, of zeros, where it has none yet."""
    if not isinstance(optimizer, torch.optim.SGD):
        return
    for group in optimizer.param_groups:
        if not (group['fused'] and group['momentum']):
            continue
        if group['dampening']:
            raise ValueError('optim_wrapper.optimizer has dampening, which the fused SGD of a GPU '
                             'starts with wrongly when its first step is left out: set '
                             'optim_wrapper.optimizer.fused=False.')
        for parameter in group['params']:
            state = optimizer.state[parameter]
            if state.get('momentum_buffer') is None:
                state['momentum_buffer'] = torch.zeros_like(parameter)
