"""Another sampler from an epoch on: deferred re-sampling."""

from mmengine.hooks import Hook

from ltcls.registry import HOOKS, SAMPLERS


@HOOKS.register_module()
class DeferredResampleHook(Hook):
    """Trains on the configured sampler first and draws through another one from an epoch on.

    Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS
    2019: the schedule of deferred re-weighting, on the sampler (DRS in the authors' code).

    The data loader and its workers stay: only the source of its batch sampler is exchanged, since a
    `DataLoader` lets nobody set `sampler`. `dataloader.sampler` therefore goes on naming the first.

    Args:
        begin: first epoch with the other sampler, counted from 0.
        sampler: its config; built with the training set and the seed of the first sampler.

    Raises:
        ValueError: before training, if the two samplers differ in length (schedules and the clock
            count on it), or if the loader forms no batches from single indices.
    """

    priority = 'HIGH'

    def __init__(self, begin: int, sampler: dict):
        if begin < 0:
            raise ValueError(f'DeferredResampleHook got begin={begin}; epochs count from 0.')
        if not isinstance(sampler, dict) or 'type' not in sampler:
            raise ValueError(f'DeferredResampleHook got sampler={sampler!r}; it needs a config '
                             "such as dict(type='ClassBalancedSampler').")
        self.begin = begin
        self.config = sampler

    def before_train(self, runner) -> None:
        if 0 < runner.max_epochs <= self.begin:
            runner.logger.warning(
                f'DeferredResampleHook begins at epoch {self.begin}, but training ends after '
                f"{runner.max_epochs}: {self.config['type']} will not be used.")
        loader = runner.train_loop.dataloader
        if not hasattr(loader.batch_sampler, 'sampler'):
            raise ValueError('DeferredResampleHook needs a train_dataloader with a batch_size, or '
                             'with a batch_sampler that draws from a `sampler`.')
        self.first = loader.batch_sampler.sampler
        # Its seed is the same on all ranks; runner.seed is not, under diff_rank_seed.
        self.second = SAMPLERS.build(
            self.config,
            default_args=dict(dataset=loader.dataset, seed=getattr(self.first, 'seed', None)))
        if len(self.second) != len(self.first):
            raise ValueError(
                f'{type(self.second).__name__} draws {len(self.second)} images an epoch where '
                f'{type(self.first).__name__} draws {len(self.first)}: give both the same '
                'epoch_length.')
        if hasattr(self.second, 'set_max_epochs'):
            self.second.set_max_epochs(runner.max_epochs)

    def before_train_epoch(self, runner) -> None:
        # In every epoch, not at `begin` alone: a resumed run may start anywhere.
        sampler = self.second if runner.epoch >= self.begin else self.first
        runner.train_loop.dataloader.batch_sampler.sampler = sampler
        # mmengine tells the epoch to `dataloader.sampler`, which is the first one.
        if hasattr(sampler, 'set_epoch'):
            sampler.set_epoch(runner.epoch)
