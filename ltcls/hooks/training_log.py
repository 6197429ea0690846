"""What a run says while it trains: a progress bar, one line an epoch, and log.jsonl."""

import json
import os
import sys
import time
from pathlib import Path

import torch
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook, RuntimeInfoHook

from ltcls.registry import HOOKS

LOG_NAME = 'log.jsonl'


@HOOKS.register_module()
class QuietRuntimeInfoHook(RuntimeInfoHook):
    """mmengine's run information without its `.item()` on every loss of every iteration."""

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        runner.message_hub.update_info('iter', runner.iter)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Nothing: TrainingLogHook reads the losses, at its interval."""


@HOOKS.register_module()
class TrainingLogHook(Hook):
    """Progress on the terminal, a line per epoch in the log, an object per epoch in log.jsonl.

    Losses stay on the device and are read every `interval` iterations and at the epoch's end.
    In log.jsonl, epoch counts from 1, time is in seconds, images_per_second counts the training of
    all processes, the loss is the first one's, and `val` stands in epochs that ended with a
    validation. `dropped_steps` counts those that NaNGuardHook has dropped so far, where there are
    any.

    Args:
        interval: iterations between two readings of the loss for the progress bar.
    """

    priority = 'BELOW_NORMAL'

    def __init__(self, interval: int = 50):
        if interval < 1:
            raise ValueError(f'TrainingLogHook got interval={interval}; it is at least 1.')
        self.interval = interval
        self.entries: list[dict] = []
        self.progress = None

    def before_train(self, runner) -> None:
        path = Path(runner.work_dir) / LOG_NAME
        if runner.epoch and path.exists():
            self.entries = [entry for entry in _read(path) if entry['epoch'] <= runner.epoch]
        self.started, self.first_epoch = time.time(), runner.epoch
        if is_main_process() and sys.stdout.isatty() and runner.max_epochs:
            self.progress = _progress_bar()
            self.task = self.progress.add_task(
                'train', total=runner.max_iters, completed=runner.iter, epoch=runner.epoch + 1,
                epochs=runner.max_epochs, state='starting')
            self.progress.start()

    def before_train_epoch(self, runner) -> None:
        self.losses: list[torch.Tensor] = []
        self.images = 0
        self.epoch_started = time.time()

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self.losses.append(outputs['loss'].detach())
        self.images += len(data_batch['labels']) * get_world_size()
        if self.progress is None:
            return
        values = {}
        if batch_idx == 0 or (batch_idx + 1) % self.interval == 0:
            speed = self.images / (time.time() - self.epoch_started)
            values = dict(state=f'loss {float(self.losses[-1]):.4f}  '
                                f'lr {_learning_rate(runner):.1e}  {speed:.0f} images/s')
        self.progress.update(self.task, completed=runner.iter + 1, epoch=runner.epoch + 1, **values)

    def after_train_epoch(self, runner) -> None:
        if not self.losses:
            raise RuntimeError('An epoch without a single batch: train_dataloader.batch_size='
                               f'{runner.train_dataloader.batch_size} is larger than the set and '
                               'drop_last is on.')
        losses = torch.stack(self.losses)
        # Others have ended the run by now, or their steps were dropped.
        loss = float(losses[losses.isfinite()].mean())
        seconds = time.time() - self.epoch_started
        self.entries.append(dict(
            epoch=runner.epoch + 1, loss=loss, lr=_learning_rate(runner),
            images_per_second=round(self.images / seconds, 1), time=round(seconds, 3)))
        dropped = runner.message_hub.runtime_info.get('dropped_steps')
        if dropped:
            self.entries[-1]['dropped_steps'] = dropped
        self._write(runner)
        scalars = {f'train/{k}': v for k, v in self.entries[-1].items() if k != 'epoch'}
        runner.visualizer.add_scalars(scalars, step=runner.epoch + 1)
        if not validates_after(runner.train_loop, runner.epoch + 1, runner.val_loop):
            self._say_epoch(runner, runner.epoch + 1)

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        if not self.entries or self.entries[-1]['epoch'] != runner.epoch:
            return
        self.entries[-1]['val'] = {k: round(float(v), 4) for k, v in metrics.items()}
        self._write(runner)
        runner.visualizer.add_scalars({f'val/{k}': v for k, v in metrics.items()},
                                      step=runner.epoch)
        self._say_epoch(runner, runner.epoch)

    def after_train(self, runner) -> None:
        self.stop_progress()

    def stop_progress(self) -> None:
        """End the bar, if there is one, and show the cursor again, which it hides."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def _say_epoch(self, runner, done: int) -> None:
        entry = self.entries[-1]
        width = len(str(runner.max_epochs))
        # A resumed run may begin with a validation that was cut off.
        share = (time.time() - self.started) / max(done - self.first_epoch, 1)
        line = (f"epoch {done:{width}}/{runner.max_epochs}  loss {entry['loss']:7.4f}  "
                f"lr {entry['lr']:.2e}  {entry['images_per_second']:6.0f} images/s  "
                f"{entry['time']:6.1f} s  left {_clock(share * (runner.max_epochs - done))}")
        if 'val' in entry:
            names = ('accuracy', 'many', 'medium', 'few')
            line += '  |  ' + '  '.join(
                f"{name} {entry['val'][name]:.2f}" for name in names if name in entry['val'])
        say(runner, line, self.progress)

    def _write(self, runner) -> None:
        if is_main_process():
            path = Path(runner.work_dir) / LOG_NAME
            new = path.with_suffix('.new')
            new.write_text(''.join(json.dumps(entry) + '\n' for entry in self.entries))
            os.replace(new, path)


def _read(path: Path) -> list[dict]:
    try:
        lines = [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]
    except ValueError as error:
        raise ValueError(f'{path} is damaged ({error}): remove it to go on without the log of the '
                         'epochs before.') from None
    if not all(isinstance(line, dict) and isinstance(line.get('epoch'), int) for line in lines):
        raise ValueError(f'{path} is damaged, a line is no epoch: remove it to go on without the '
                         'log of the epochs before.')
    return lines


def stop_progress(runner) -> None:
    """End the bar of a training that an error, a signal or Ctrl-C has ended before its time."""
    for hook in runner.hooks:
        if isinstance(hook, TrainingLogHook):
            hook.stop_progress()


def say(runner, line: str, progress=None) -> None:
    """A line for the terminal and the log file, from the first rank only."""
    if is_main_process():
        if progress is not None:
            progress.console.print(line, highlight=False, soft_wrap=True)
        else:
            print(line, flush=True)
        runner.logger.info(line)


def _learning_rate(runner) -> float:
    return float(runner.optim_wrapper.get_lr()['lr'][0])


def validates_after(loop, epoch: int, val_loop) -> bool:
    """Whether the training loop validates at the end of this epoch, counted from 1."""
    return (val_loop is not None and epoch >= loop.val_begin
            and (epoch % loop.val_interval == 0 or epoch == loop.max_epochs))


def _clock(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'


def _progress_bar():
    from rich import progress
    # One line of 80 columns.
    return progress.Progress(
        progress.TextColumn('epoch {task.fields[epoch]}/{task.fields[epochs]}'),
        progress.BarColumn(bar_width=8),
        progress.TextColumn('{task.completed:.0f}/{task.total:.0f}  {task.fields[state]}'),
        progress.TextColumn('left'), progress.TimeRemainingColumn(compact=True),
        refresh_per_second=4)
