"""The same batch-norm statistics on all ranks."""

from mmengine.dist import all_reduce_params, broadcast, get_world_size
from mmengine.hooks import Hook
from torch.nn.modules.batchnorm import _BatchNorm

from ltcls.registry import HOOKS

from .unwrap import bare


@HOOKS.register_module()
class SyncStatisticsHook(Hook):
    """Makes all ranks hold the same buffers at the end of each epoch, before anything is saved.

    Running means and variances of batch norm, which each rank measures on its own images, become
    their averages over the ranks; every other floating-point buffer becomes the first rank's. So
    what is validated is what is saved, whichever rank evaluates an image. Training itself does not
    read these statistics. With one process nothing happens; the engine adds this hook to every run
    of several.
    """

    priority = 'HIGH'

    def after_train_epoch(self, runner) -> None:
        if get_world_size() == 1:
            return
        model = bare(runner.model)
        norms = [m for m in model.modules() if isinstance(m, _BatchNorm)
                 and m.running_mean is not None]
        statistics = [buffer for m in norms for buffer in (m.running_mean, m.running_var)]
        known = {id(buffer) for buffer in statistics}
        others = [b for b in model.buffers() if b.is_floating_point() and id(b) not in known]
        all_reduce_params(statistics, op='mean')
        for buffer in others:
            broadcast(buffer, src=0)
