"""The wrapper of a model that trains on several ranks."""

import inspect

from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ltcls.registry import MODEL_WRAPPERS

from .classifier import perturbed_step, takes_objective


@MODEL_WRAPPERS.register_module()
class DistributedClassifier(MMDistributedDataParallel):
    """DistributedDataParallel that also works on CPUs, where it takes no device ids."""

    def __init__(self, module, device_ids=None, broadcast_buffers: bool = False, **kwargs):
        if next(module.parameters()).device.type == 'cpu':
            device_ids = None
        known = inspect.signature(DistributedDataParallel.__init__).parameters
        name = 'forward_sync_buffers' if 'forward_sync_buffers' in known else 'broadcast_buffers'
        # A stage of zero epochs may have nothing that trains, which torch refuses to wrap.
        first = next(module.parameters())
        idle = not any(parameter.requires_grad for parameter in module.parameters())
        first.requires_grad_(idle or first.requires_grad)
        super().__init__(module, device_ids=device_ids, **{name: broadcast_buffers}, **kwargs)
        first.requires_grad_(first.requires_grad and not idle)

    def train_step(self, data: dict, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """As the classifier's; a perturbed step averages gradients itself and bypasses DDP."""
        if takes_objective(self.module, optim_wrapper):
            return perturbed_step(self.module, data, optim_wrapper)
        return super().train_step(data, optim_wrapper)

    def __getattr__(self, name: str):
        """Attributes of the classifier, so that hooks need not know the wrapper."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__('module'), name)
