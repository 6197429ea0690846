"""The hook that tells the model what the training set looks like and what time it is."""

from mmengine.hooks import Hook

from ltcls.longtail import Clock
from ltcls.registry import HOOKS

from .unwrap import bare


@HOOKS.register_module()
class LongTailHook(Hook):
    """Class counts to model, optim wrapper and metrics, the clock before every iteration.

    Counts are measured by the training set (`metainfo['class_counts']`) and kept in the model's
    checkpoint, so that testing works from a checkpoint alone. Beside them it holds the fingerprints
    of the data (`meta['fingerprints']`), by which other images are noticed, and whether the run
    started from what was chosen on the test set (`meta['selected_on_test']`).
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner) -> None:
        """Bind the model to the counts, tell the sampler how long training lasts.

        An optim wrapper with `check_counts` may refuse the counts with a ValueError.
        """
        loader = runner.train_dataloader
        counts = loader.dataset.metainfo['class_counts']
        bare(runner.model).bind(counts)
        if hasattr(runner.optim_wrapper, 'check_counts'):
            runner.optim_wrapper.check_counts(counts)
        if hasattr(loader.sampler, 'set_max_epochs'):
            loader.sampler.set_max_epochs(runner.max_epochs)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        bare(runner.model).set_clock(
            Clock(runner.epoch, runner.max_epochs, runner.iter / max(runner.max_iters, 1)))

    def before_val(self, runner) -> None:
        self._tell_metrics(runner, runner.val_loop.evaluator)

    def before_test(self, runner) -> None:
        self._tell_metrics(runner, runner.test_loop.evaluator)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint['meta']['fingerprints'] = fingerprints(runner)
        checkpoint['meta']['selected_on_test'] = getattr(runner, 'selected_on_test', False)

    @staticmethod
    def _tell_metrics(runner, evaluator) -> None:
        model = bare(runner.model)
        if not bool(model.class_counts.sum() > 0):
            raise RuntimeError('This checkpoint carries no class counts: it was not trained with '
                               'ltcls. Train with it as init_from instead of testing it.')
        model.bind(model.class_counts)
        counts = [int(n) for n in model.class_counts.tolist()]
        evaluator.dataset_meta = dict(evaluator.dataset_meta or {}, train_class_counts=counts)


def fingerprints(runner) -> dict[str, str]:
    """Of the training and the test data, as far as this run has built them."""
    loops = dict(train=runner._train_loop, test=runner._test_loop)
    return {name: loop.dataloader.dataset.fingerprint for name, loop in loops.items()
            if hasattr(loop, 'dataloader')}
