"""What hooks have in common that weigh each training sample by means of a development set."""

import inspect
import json
import math
from pathlib import Path
from typing import Sequence

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper
from torch import Tensor, nn

from .deferred_reweight import DeferredReweightHook
from .dev_batches import DevBatches
from .meta_gradient import MetaGradient, VirtualStep, load_forward_rules
from .plain_images import without_augmentation
from .unwrap import bare

WEIGHTS_LOG = 'weights.jsonl'


class SampleWeightHook(Hook):
    """Base: from an epoch on, each sample of a batch gets a weight before the step.

    A subclass writes `sample_weights`. The hook preprocesses the batch, so that the step sees the
    same augmented images, and hands over the weights with it. Where the step begins with the
    losses at the current weights, in the same precision, it uses those that the hook has computed
    and makes no pass of its own; otherwise the hook's passes leave no trace in the model, and the
    step draws the same masks of dropout and the like.

    Statistics of the weights, and the loss on the development batch after the virtual step
    (`dev_loss`), are averaged on the device and written to weights.jsonl every `log_interval`
    iterations: one object with `epoch` (from 1), `iteration` and the averages since the line
    before. On several ranks they are those of the first.

    Args:
        begin: first epoch with sample weights, counted from 0.
        dev_batch_size: development images a step and rank.
        dev_loss: 'ce', plain cross-entropy; or 'same', the training loss without weights.
        dev_augment: whether development images are augmented like training images; without, a
            data set with a pipeline reads them through that of the validation set (or of the test
            set, if there is none).
        dev_from_train: None for the held-out images (`train_dataloader.dataset.held_out`); or how
            many a class to take from the training set itself, which keeps them.
        batch_norm: 'batch', where the hook's passes normalise by their own batch; or 'running'.
        precision: of the hook's passes: 'float32', or 'model' for `model.precision`.
        share_forward: whether the step may use the hook's losses. False makes one more forward
            pass, and keeps no activations while the development batch has its turn.
        recompute: names of the model's submodules that keep no activations of the development
            batch; its backward pass runs them once more.
        per_rank: whether each rank of several learns from a virtual step of its own batches,
            instead of one for all.
        log_interval: iterations.

    Raises:
        ValueError: a value outside these; before training, a model or an optimizer that cannot be
            differentiated this way, or another hook that sets weights.
    """

    priority = 'BELOW_NORMAL'       # after NaNGuardHook has noted the buffers, which its pass moves

    def __init__(self, begin: int = 0, dev_batch_size: int = 100, dev_loss: str = 'ce',
                 dev_augment: bool = True, dev_from_train: int | None = None,
                 batch_norm: str = 'batch', precision: str = 'float32',
                 share_forward: bool = True, recompute: Sequence[str] = (),
                 per_rank: bool = False, log_interval: int = 50):
        self._check('begin', begin, begin >= 0, 'an epoch, counted from 0')
        self._check('dev_batch_size', dev_batch_size, dev_batch_size >= 1, 'at least 1')
        self._check('dev_loss', dev_loss, dev_loss in ('ce', 'same'), "'ce' or 'same'")
        self._check('dev_from_train', dev_from_train,
                    dev_from_train is None or dev_from_train >= 1, 'None or at least 1')
        self._check('batch_norm', batch_norm, batch_norm in ('batch', 'running'),
                    "'batch' or 'running'")
        self._check('precision', precision, precision in ('float32', 'model'),
                    "'float32' or 'model'")
        self._check('log_interval', log_interval, log_interval >= 1, 'at least 1')
        self.begin, self.dev_batch_size = begin, dev_batch_size
        self.dev_loss, self.dev_augment, self.dev_from_train = dev_loss, dev_augment, dev_from_train
        self.batch_norm, self.precision, self.log_interval = batch_norm, precision, log_interval
        self.share_forward, self.recompute = share_forward, tuple(recompute)
        self.per_rank, self._reverse = per_rank, False
        self.dev: DevBatches | None = None
        self._batches = self._draws = None
        self._sums: dict[str, Tensor] = {}
        self._count = self._iteration = 0

    def _check(self, name: str, value, fits: bool, expected: str) -> None:
        if not fits:
            raise ValueError(f'{type(self).__name__} got {name}={value!r}; it must be {expected}.')

    # -- what a method writes -------------------------------------------------------------------

    learns = True           # False: no development batch is needed
    asks_for_losses = True  # False: `sample_weights` does without them, so none are handed on

    def sample_weights(self, problem: MetaGradient) -> tuple[Tensor, dict[str, Tensor]]:
        """Weights [B] for the samples of `problem.batch`, and numbers [] for the log.

        The batch loss is the mean of weight times loss over the batch.
        """
        raise NotImplementedError

    def virtual_step(self, epoch: int) -> VirtualStep:
        """The virtual step in this epoch."""
        return VirtualStep()

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Before training, when the model knows the class counts."""

    # -- events ---------------------------------------------------------------------------------

    def before_train(self, runner) -> None:
        name, model = type(self).__name__, bare(runner.model)
        if 0 < runner.max_epochs <= self.begin:
            runner.logger.warning(f'{name} begins at epoch {self.begin}, but training ends after '
                                  f'{runner.max_epochs}: no sample weights will be used.')
        if self.begin >= runner.max_epochs:
            return
        for hook in runner.hooks:
            weighs = isinstance(hook, (SampleWeightHook, DeferredReweightHook))
            if weighs and hook is not self and hook.begin < runner.max_epochs:
                raise ValueError(f'{name} sets all weights, and {type(hook).__name__} would set '
                                 'them as well: remove one of them from custom_hooks.')
        if not bool(model.class_counts.sum() > 0):
            raise RuntimeError(f'{name} found no class counts in the model: keep LongTailHook in '
                               'default_hooks.')
        if self.learns:
            self._check_model(model)
        self._open_log(Path(runner.work_dir) / WEIGHTS_LOG, runner.iter)
        self.prepare(model, runner.optim_wrapper.optimizer)
        if self.learns:
            load_forward_rules()
            loader = runner.train_loop.dataloader
            self.dev = DevBatches(
                loader, dict(runner.cfg.train_dataloader.dataset), self.dev_batch_size,
                self.dev_from_train, seed=getattr(loader.sampler, 'seed', None) or 0)
            if not self.dev_augment:
                self.dev.dataset = without_augmentation(self.dev.dataset, runner)

    def before_train_epoch(self, runner) -> None:
        self._sums, self._count = {}, 0
        if self.dev is not None and runner.epoch >= self.begin:
            self._batches = self.dev.epoch(runner.epoch)
            device = bare(runner.model).class_counts.device
            self._draws = self.dev.draws(runner.epoch, device)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        if runner.epoch < self.begin:
            return
        model = bare(runner.model)
        if model.weighted:
            raise ValueError(f'{type(self).__name__} sets all weights, and class weights are set '
                             'as well: remove DeferredReweightHook.')
        preprocess, dev_batch = model.data_preprocessor, None
        batch = preprocess(data_batch, True)
        if self.dev is not None:
            with self._draws.again():
                dev_batch = preprocess(next(self._batches), self.dev_augment, mix=False)
        problem = MetaGradient(
            model, batch, dev_batch, runner.optim_wrapper.optimizer,
            step=self.virtual_step(runner.epoch), dev_loss=self.dev_loss,
            batch_norm=self.batch_norm, precision=self.precision,
            shared=self._can_share(model, runner.optim_wrapper), recompute=self.recompute,
            per_rank=self.per_rank, reverse=self._reverse, dev_draws=self._draws)
        weights, found = self.sample_weights(problem)
        weights = weights.detach()
        self._reverse = problem.reverse
        if problem.dev_value is not None:
            found = dict(found, dev_loss=problem.dev_value)
        prepared = data_batch['prepared'] = dict(batch, weights=weights)
        if problem.handed_on is not None:
            prepared['losses'] = problem.handed_on
        elif problem.draws is not None and self._takes(model, 'draws'):
            prepared['draws'] = problem.draws
        self._note(found, weights)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._iteration = runner.iter + 1
        if self._count == self.log_interval:
            self._write(runner)

    def after_train_epoch(self, runner) -> None:
        self._write(runner)
        self._batches = None        # its workers end with it

    # -- inside ---------------------------------------------------------------------------------

    def _check_model(self, model: nn.Module) -> None:
        name = type(self).__name__
        if any(isinstance(module, nn.SyncBatchNorm) for module in model.modules()):
            raise ValueError(f'{name} differentiates forward, which SyncBatchNorm cannot: remove '
                             'sync_bn from the config.')
        if getattr(model, 'captured', False):
            raise ValueError(f'{name} differentiates forward, which a compiled backbone cannot: '
                             'set model.compile and model.cuda_graphs to False.')
        parts = [part for part, _ in model.named_modules() if part]
        for part in self.recompute:
            if part not in parts:
                near = ', '.join(found for found in parts if found.count('.') < 2)
                raise ValueError(f"{name} got recompute='{part}', a part that the model does not "
                                 f'have; it has {near}, and what these hold.')
        if self.precision == 'model' and model.dtype == torch.float16:
            raise ValueError(f"{name} got precision='model', but in float16 its small products "
                             "vanish: use precision='float32'.")

    def _can_share(self, model: nn.Module, wrapper) -> bool:
        """Whether the step begins with the losses that the hook computes."""
        same_pass = (self.share_forward and self.asks_for_losses and self.batch_norm == 'batch'
                     and (self.precision == 'model' or model.dtype is None))
        # The autocast of mmengine's wrapper surrounds the model's own passes only.
        at_weights = (getattr(wrapper, 'starts_at_weights', True)
                      and not isinstance(wrapper, AmpOptimWrapper))
        return same_pass and at_weights and self._takes(model, 'losses')

    @staticmethod
    def _takes(model: nn.Module, name: str) -> bool:
        return name in inspect.signature(model.forward).parameters

    def _note(self, found: dict[str, Tensor], weights: Tensor) -> None:
        found = dict(found, weight=weights.mean(), negative=(weights < 0).float().mean())
        for name, value in found.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach()
        self._count += 1

    def _open_log(self, path: Path, iteration: int) -> None:
        """Keep the lines up to the checkpoint that a run resumes from; it writes the rest anew."""
        self._path = path
        if is_main_process():
            text = path.read_text() if path.exists() else ''
            path.write_text(''.join(f'{line}\n' for line in text.splitlines()
                                    if _iteration(line) <= iteration))

    def _write(self, runner) -> None:
        """One look at the device, and one line."""
        if not self._count:
            return
        values = (torch.stack(list(self._sums.values())) / self._count).tolist()
        line = dict(epoch=runner.epoch + 1, iteration=self._iteration,
                    **dict(zip(self._sums, values)))
        self._sums, self._count = {}, 0
        if is_main_process():
            with self._path.open('a') as file:
                file.write(json.dumps(line) + '\n')


def _iteration(line: str) -> float:
    """Of a line of the log; infinite for one that was cut off."""
    try:
        return json.loads(line)['iteration']
    except (ValueError, TypeError, KeyError):
        return math.inf
