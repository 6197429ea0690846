"""Meta-Weight-Net: a sample's weight is a learned function of its loss."""

import torch
from mmengine.dist import all_reduce_params, broadcast, get_world_size
from torch import Tensor, nn

from ltcls.registry import HOOKS

from .fused_optimizer import steps_to_host
from .meta_gradient import MetaGradient, VirtualStep
from .sample_weights import SampleWeightHook

STATE = 'meta_weight_net'
# Optimizers of V and their values, which belong to the batch loss of the same code.
VARIANTS = {
    'noise': (torch.optim.Adam, dict(lr=1e-3, weight_decay=1e-4)),
    'imbalance': (torch.optim.SGD, dict(lr=1e-5, momentum=0.9, nesterov=True, weight_decay=5e-4)),
}


@HOOKS.register_module()
class MetaWeightNetHook(SampleWeightHook):
    """A sample weighs V(loss), V a network of one hidden layer with values in (0, 1).

    In each step V is trained by one step on the development loss after a virtual step
    theta - eta * mean_i V(l_i) grad l_i; its gradient is sum_i dL_D / dV_i * dV(l_i) / dphi, where
    l_i is a constant. Then the new V weighs the samples of the same batch, and the batch loss is
    the mean of weight times loss. V and its optimizer are in the checkpoint. Where the gradient of V
    is not finite, V takes a step of momentum alone and the weights are NaN, which NaNGuardHook sees.

    Shu et al., Meta-Weight-Net: Learning an Explicit Mapping for Sample Weighting, NeurIPS 2019,
    Algorithm 1. Optimizer, its values and the batch loss are those of the authors' code, of which
    there are two: in the one for class imbalance V(l_i) is divided by its sum over the batch, in
    the virtual step and in the batch loss, and V is trained by SGD.

    Args:
        begin: first epoch with these weights, counted from 0.
        hidden: units of the hidden layer.
        lr: of V's optimizer; None for the variant's.
        weight_decay: likewise.
        virtual_lr: rate of the virtual step; None for the optimizer's current one.
        variant: 'noise', of the code for noisy labels, with Adam (lr 1e-3, weight decay 1e-4); or
            'imbalance', with SGD (lr 1e-5, Nesterov momentum 0.9, weight decay 5e-4).
        options: see `SampleWeightHook`.

    Raises:
        ValueError: a value outside these.
    """

    def __init__(self, begin: int = 0, hidden: int = 100, lr: float | None = None,
                 weight_decay: float | None = None, virtual_lr: float | None = None,
                 variant: str = 'noise', **options):
        super().__init__(begin=begin, **options)
        self._check('hidden', hidden, hidden >= 1, 'at least 1')
        self._check('lr', lr, lr is None or lr >= 0, 'None or at least 0')
        self._check('variant', variant, variant in VARIANTS, "'noise' or 'imbalance'")
        self.virtual_lr, self.variant = virtual_lr, variant
        self.net = nn.Sequential(nn.Linear(1, hidden), nn.ReLU(), nn.Linear(hidden, 1),
                                 nn.Sigmoid())
        optimizer, values = VARIANTS[variant]
        given = {k: v for k, v in dict(lr=lr, weight_decay=weight_decay).items() if v is not None}
        self.optimizer = optimizer(self.net.parameters(), **dict(values, **given))
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
        return VirtualStep('mean' if self.variant == 'noise' else 'sum', self.virtual_lr)

    def sample_weights(self, problem: MetaGradient) -> tuple[Tensor, dict[str, Tensor]]:
        losses = problem.losses.detach()[:, None]
        values = self.net(losses)[:, 0]
        if self.variant == 'noise':
            slopes = problem.gradient(values)
        else:       # the derivative by V_i of sum_i dL_D / dw_i * V_i / sum_j V_j
            total, shares = self._normalised(values.detach(), problem)
            slopes = problem.gradient(shares)
            common = [(slopes * shares).sum()]
            problem.reduce(common, 'sum')
            slopes = (slopes - common[0]) / total
        grads = list(torch.autograd.grad((values * slopes).sum(), list(self.net.parameters())))
        all_reduce_params(grads, op='mean' if self.per_rank else 'sum')
        finite = torch.stack([grad.isfinite().all() for grad in grads]).all()
        for parameter, grad in zip(self.net.parameters(), grads):
            parameter.grad = torch.where(finite, grad, 0.0)
        self.optimizer.step()
        with torch.no_grad():
            weights = self.net(losses)[:, 0]
            if self.variant == 'imbalance':     # the step takes the mean, the method the sum
                _, shares = self._normalised(weights, problem)
                weights = shares * len(shares) * problem.ranks
            weights = torch.where(finite, weights, torch.nan)
        return weights, dict(spread=weights.std(correction=0))

    @staticmethod
    def _normalised(values: Tensor, problem: MetaGradient) -> tuple[Tensor, Tensor]:
        """Their sum [] over the batch, of all ranks, and the values over it [B]."""
        total = [values.sum()]
        problem.reduce(total, 'sum')
        return total[0], values / total[0]

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint[STATE] = dict(net=self.net.state_dict(), optimizer=self.optimizer.state_dict())

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        self._loaded = checkpoint.get(STATE)
