"""Accumulated gradients that do not reach beyond their epoch."""

from mmengine.hooks import Hook

from ltcls.registry import HOOKS


@HOOKS.register_module()
class AccumulationHook(Hook):
    """Ends the last window of gradient accumulation with the epoch.

    Where `optim_wrapper.accumulative_counts` does not divide the batches of an epoch, its last step
    has the mean gradient of fewer batches. No checkpoint holds gradients, so a window that went on
    in the next epoch would be lost to a run that resumes there.
    """

    def before_train_epoch(self, runner) -> None:
        wrapper = runner.optim_wrapper
        if getattr(wrapper, '_accumulative_counts', 1) > 1:
            wrapper._inner_count, wrapper._max_counts = 0, len(runner.train_dataloader)
            wrapper._remainder_counts = wrapper._max_counts % wrapper._accumulative_counts
