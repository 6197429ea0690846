"""A loss that is no number any more: the run stops, or the step is left out."""

from pathlib import Path

import torch
from mmengine.dist import all_gather_object, all_reduce, get_world_size, is_main_process
from mmengine.hooks import Hook
from torch import Tensor, nn

from ltcls.registry import HOOKS

from .unwrap import bare

MODES = ('stop', 'skip')
NOWHERE = 2 ** 62


class NonFiniteError(RuntimeError):
    """A loss or a weight became NaN or infinite."""


@HOOKS.register_module()
class NaNGuardHook(Hook):
    """Watches for losses and weights that are NaN or infinite.

    With 'stop' the run ends with an error that names iteration, component and the last good
    checkpoint. Losses are read every `interval` iterations and at the end of an epoch, all at once,
    and the weights at the end of an epoch, before the checkpoint is written: no iteration waits
    for the device, and no checkpoint holds such a weight. Ranks agree with one number at each
    reading.

    With 'skip' a step whose gradient is not finite, or any of whose losses is not, is left out as
    if its batches had not been seen: weights, optimizer state, gradients and the buffers of the
    model stay. A loss that is not finite makes the gradient of its rank NaN and averaging carries
    that to all ranks, so all leave out the same steps without another message. Under gradient
    accumulation the whole step goes. The cost is one pass over the gradients and two over the
    buffers a step; a fused optimizer decides on the device, any other makes the host wait for the
    device once a step. The number of dropped steps stands in log.jsonl and in the checkpoints.

    Args:
        on_nan: 'stop' or 'skip'.
        interval: iterations between two readings.

    Raises:
        ValueError: another `on_nan`, or an interval below 1.
        NonFiniteError: in training; with 'skip' when an epoch had no step left.
    """

    def __init__(self, on_nan: str = 'stop', interval: int = 50):
        if on_nan not in MODES:
            raise ValueError(f"NaNGuardHook got on_nan='{on_nan}'; choose from {', '.join(MODES)}.")
        if interval < 1:
            raise ValueError(f'NaNGuardHook got interval={interval}; it is at least 1.')
        self.on_nan = on_nan
        self.interval = interval
        self.seen: list[tuple[int, str, Tensor]] = []      # batch, name of the loss, its value

    def before_train(self, runner) -> None:
        if self.on_nan == 'skip':
            self.filter = StepFilter(bare(runner.model), runner.optim_wrapper)
            self.before = runner.message_hub.runtime_info.get('dropped_steps', 0)

    def before_train_epoch(self, runner) -> None:
        self.seen = []
        if self.on_nan == 'skip':
            self.filter.begin()

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        if self.on_nan == 'skip':
            self.filter.remember()

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if self.on_nan == 'skip':
            return
        self.seen += [(batch_idx, name, value.detach()) for name, value in outputs.items()
                      if 'loss' in name and isinstance(value, Tensor)]
        if (batch_idx + 1) % self.interval == 0:
            self._check_losses(runner)

    def after_train_epoch(self, runner) -> None:
        if self.on_nan == 'skip':
            self._count(runner)
        else:
            self._check_losses(runner)
        self._check_weights(runner)

    # -- stop -----------------------------------------------------------------------------------

    def _check_losses(self, runner) -> None:
        """Read what was seen since the last time; one wait for the device."""
        seen, self.seen = self.seen, []
        if not seen:
            return
        values = torch.stack([value.reshape(()).float() for _, _, value in seen])
        batches = torch.tensor([batch for batch, _, _ in seen], device=values.device)
        first = torch.where(values.isfinite(), NOWHERE, batches).min()
        if get_world_size() > 1:
            all_reduce(first, op='min')
        batch = int(first)
        if batch == NOWHERE:
            return
        mine = [(name, float(value)) for (at, name, _), value in zip(seen, values)
                if at == batch and not bool(value.isfinite())]
        for rank, found in enumerate(all_gather_object(mine)):
            if found:
                # 'loss' is the sum; a part of it says more.
                name, value = next((part for part in found if part[0] != 'loss'), found[0])
                kind = type(getattr(bare(runner.model), 'loss', None)).__name__
                where = f' on rank {rank}' if get_world_size() > 1 else ''
                length = len(runner.train_dataloader)
                raise NonFiniteError(
                    f"The loss became {value} at iteration {runner.epoch * length + batch + 1} "
                    f"(epoch {runner.epoch + 1}, batch {batch + 1}){where}: component '{name}' of "
                    f'{kind}. {self._advice(runner)}')

    def _check_weights(self, runner) -> None:
        model = bare(runner.model)
        # Other buffers may hold infinities rightly, as the logarithm of an empty class.
        named = [*model.named_parameters(),
                 *((name, value) for name, value in model.named_buffers() if 'running_' in name)]
        finite = torch.stack([value.detach().abs().max().isfinite() for _, value in named
                              if value.numel()])
        if bool(finite.all()):
            return
        names = [name for name, value in named if value.numel()]
        name = names[finite.tolist().index(False)]
        raise NonFiniteError(
            f"The weights became NaN or infinite in epoch {runner.epoch + 1}, up to iteration "
            f"{runner.iter}: component '{name}'. {self._advice(runner)}")

    def _advice(self, runner) -> str:
        last = runner.message_hub.runtime_info.get('last_ckpt')
        last = last and Path(runner.work_dir) / Path(last).name
        kept = (f'The last good checkpoint is {last}.' if last and last.is_file()
                else 'There is no checkpoint yet.')
        advice = 'lower the learning rate or set optim_wrapper.clip_grad=dict(max_norm=1.0)'
        if self.on_nan == 'stop':
            advice += ', or leave out such steps with --on-nan skip'
        return f'{kept} To go on, {advice}.'

    # -- skip -----------------------------------------------------------------------------------

    def _count(self, runner) -> None:
        dropped, steps = self.filter.count()
        if not dropped:
            return
        self.before += dropped
        runner.message_hub.update_info('dropped_steps', self.before)
        line = (f'epoch {runner.epoch + 1}: {dropped} of {steps} steps dropped, their loss or '
                'gradient was not finite')
        if is_main_process():
            print(line, flush=True)
        runner.logger.warning(line)
        if dropped == steps:
            raise NonFiniteError(f'All {steps} steps of epoch {runner.epoch + 1} were dropped: no '
                                 f'loss or gradient was finite. {self._advice(runner)}')


class StepFilter:
    """Lets an optim wrapper take only steps whose gradient is finite.

    Args:
        model: the bare classifier.
        wrapper: its loss passes through `scale_loss` on the way to each backward, and its gradients
            are final (averaged over ranks, unscaled, clipped) when it calls `optimizer.step`. A fused
            SGD has its momentum (see `FusedOptimizerHook`).

    Raises:
        ValueError: a wrapper of several optimizers.
    """

    def __init__(self, model: nn.Module, wrapper):
        if not hasattr(wrapper, 'optimizer'):
            raise ValueError(f'--on-nan skip works with one optimizer; {type(wrapper).__name__} '
                             'has several. Use --on-nan stop.')
        self.model = model
        self.wrapper = wrapper
        self.optimizer = wrapper.optimizer
        self.params = [p for group in self.optimizer.param_groups for p in group['params']]
        # Fused kernels skip by themselves. For any other optimizer a GradScaler would wait, and not
        # call `step` where its gradients are infinite: this takes the decision over.
        self.skips_itself = getattr(self.optimizer, '_step_supports_amp_scaling', False)
        self.optimizer._step_supports_amp_scaling = True
        self.step, self.scale = self.optimizer.step, wrapper.scale_loss
        self.optimizer.step, wrapper.scale_loss = self._step, self._scale_loss
        self.buffers: list[Tensor] = []
        self.kept: list[Tensor] = []
        self.begin()

    def begin(self) -> None:
        """Start counting anew."""
        self.steps = 0
        self.dropped: Tensor | float = 0.0
        self.fresh = True

    def remember(self) -> None:
        """Keep the model's buffers as they are, at the start of each step."""
        if not self.fresh:
            return
        self.fresh = False
        buffers = [buffer for buffer in self.model.buffers() if buffer.is_floating_point()]
        if [id(buffer) for buffer in buffers] == [id(buffer) for buffer in self.buffers]:
            torch._foreach_copy_(self.kept, buffers)
        else:
            self.buffers, self.kept = buffers, [buffer.clone() for buffer in buffers]

    def count(self) -> tuple[int, int]:
        """Steps that were dropped, and all steps, since `begin`; one wait for the device."""
        return int(self.dropped), self.steps

    def _scale_loss(self, loss: Tensor) -> Tensor:
        # Exactly 1 for a finite loss; NaN for any other, and so is then the gradient.
        return self.scale(loss * (1 + 0 * loss.detach()))

    @torch.no_grad()
    def _step(self, *arguments, **options) -> None:
        grads = [p.grad for p in self.params if p.grad is not None]
        if not grads:
            self.step(*arguments, **options)
            return
        largest = torch.stack(torch._foreach_norm(grads, float('inf')))
        bad = ~largest.isfinite().all()
        self.steps += 1
        self.dropped = self.dropped + bad.float()
        self.fresh = True
        if self.skips_itself:
            self._step_on_device(bad, *arguments, **options)
        elif not bool(bad):
            self._step_without_scaler(grads, *arguments, **options)
        elif self.buffers:
            torch._foreach_copy_(self.buffers, self.kept)

    def _step_without_scaler(self, grads: list[Tensor], *arguments, **options) -> None:
        """What a GradScaler asks of fused kernels, done here."""
        given = vars(self.optimizer)
        asked = {name: given.pop(name) for name in ('grad_scale', 'found_inf') if name in given}
        if asked.get('grad_scale') is not None:       # nobody has unscaled the gradients
            torch._foreach_div_(grads, asked['grad_scale'])
        self.step(*arguments, **options)
        given.update(asked)

    def _step_on_device(self, bad: Tensor, *arguments, **options) -> None:
        """The optimizer's kernels leave everything as it is where `found_inf` is 1."""
        scalers = getattr(self.optimizer, 'found_inf', None)
        self.optimizer.found_inf = bad.float()
        self.step(*arguments, **options)
        if scalers is None:
            del self.optimizer.found_inf
        else:                     # a GradScaler will remove it
            self.optimizer.found_inf = scalers
        for buffer, kept in zip(self.buffers, self.kept):
            torch.where(bad.to(buffer.device), kept, buffer, out=buffer)
