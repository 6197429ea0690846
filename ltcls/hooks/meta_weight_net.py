"""Meta-Weight-Net: a sample's weight is a learned function of its loss."""

import torch
from mmengine.dist import broadcast, get_world_size
from torch import Tensor, nn

from ltcls.registry import HOOKS

from .fused_optimizer import steps_to_host
from .meta_gradient import MetaGradient, VirtualStep, reduce_over_ranks
from .sample_weights import SampleWeightHook

STATE = 'meta_weight_net'


@HOOKS.register_module()
class MetaWeightNetHook(SampleWeightHook):
    """A sample weighs V(loss), V a network of one hidden layer with values in (0, 1).

    In each step V is trained by one step of Adam on the development loss after a virtual step
    theta - eta * mean_i V(l_i) grad l_i; its gradient is sum_i dL_D / dV_i * dV(l_i) / dphi, where
    l_i is a constant. Then the new V weighs the samples of the same batch, and the batch loss is
    the mean of weight times loss. V and its optimizer are in the checkpoint. Where the gradient of V
    is not finite, V takes a step of momentum alone and the weights are NaN, which NaNGuardHook sees.

    Shu et al., Meta-Weight-Net: Learning an Explicit Mapping for Sample Weighting, NeurIPS 2019,
    Algorithm 1; Adam, its values and the batch loss are those of the authors' code.

    Args:
        begin: first epoch with these weights, counted from 0.
        hidden: units of the hidden layer.
        lr: of Adam.
        weight_decay: of Adam.
        virtual_lr: rate of the virtual step; None for the optimizer's current one.
        options: see `SampleWeightHook`.

    Raises:
        ValueError: a value outside these.
    """

    def __init__(self, begin: int = 0, hidden: int = 100, lr: float = 1e-3,
                 weight_decay: float = 1e-4, virtual_lr: float | None = None, **options):
        super().__init__(begin=begin, **options)
        self._check('hidden', hidden, hidden >= 1, 'at least 1')
        self._check('lr', lr, lr >= 0, 'at least 0')
        self.virtual_lr = virtual_lr
        self.net = nn.Sequential(nn.Linear(1, hidden), nn.ReLU(), nn.Linear(hidden, 1),
                                 nn.Sigmoid())
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=lr, weight_decay=weight_decay)
        self._loaded: dict | None = None

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.net.to(model.class_counts.device)
        if self._loaded is not None:
            self.net.load_state_dict(self._loaded['net'])
            steps_to_host(self._loaded['optimizer'])
            self.optimizer.load_state_dict(self._loaded['optimizer'])
        if get_world_size() > 1:
            for value in self.net.parameters():
                broadcast(value.detach(), src=0)

    def virtual_step(self, epoch: int) -> VirtualStep:
        return VirtualStep('mean', self.virtual_lr)

    def sample_weights(self, problem: MetaGradient) -> tuple[Tensor, dict[str, Tensor]]:
        losses = problem.losses.detach()[:, None]
        values = self.net(losses)[:, 0]
        slopes = problem.gradient(values)
        grads = list(torch.autograd.grad((values * slopes).sum(), list(self.net.parameters())))
        reduce_over_ranks(grads, 'sum')
        finite = torch.stack([grad.isfinite().all() for grad in grads]).all()
        for parameter, grad in zip(self.net.parameters(), grads):
            parameter.grad = torch.where(finite, grad, 0.0)
        self.optimizer.step()
        with torch.no_grad():
            weights = torch.where(finite, self.net(losses)[:, 0], torch.nan)
        return weights, dict(spread=weights.std(correction=0))

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint[STATE] = dict(net=self.net.state_dict(), optimizer=self.optimizer.state_dict())

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        self._loaded = checkpoint.get(STATE)
