"""The same buffers on all ranks."""

from mmengine.dist import all_reduce_params, broadcast, get_world_size
from mmengine.hooks import Hook

from ltcls.registry import HOOKS

from .unwrap import bare


@HOOKS.register_module()
class SyncStatisticsHook(Hook):
    """Makes all ranks hold the same buffers at the end of each epoch, before anything is saved.

    Buffers whose names begin with `running_`, such as the means and variances of batch norm, which
    each rank measures on its own images, become their averages over the ranks; every other
    floating-point buffer becomes the first rank's. So what is validated is what is saved, whichever
    rank evaluates an image. Training itself does not read these statistics. With one process
    nothing happens; the engine adds this hook to every run of several.
    """

    priority = 'HIGH'

    def after_train_epoch(self, runner) -> None:
        if get_world_size() == 1:
            return
        model = bare(runner.model)
        statistics = []
        for name, buffer in model.named_buffers():
            if not buffer.is_floating_point():
                continue
            if name.rpartition('.')[2].startswith('running_'):
                statistics.append(buffer)
            else:
                broadcast(buffer, src=0)
        all_reduce_params(statistics, op='mean')
