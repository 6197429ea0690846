"""Ending a run on request with a checkpoint, and making up for what an interruption cut off."""

import copy
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import mmengine
import torch
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook, Hook

from ltcls.compat import save_to_disk
from ltcls.engine.checkpoint import latest_checkpoint
from ltcls.evaluation.record import training_log
from ltcls.hooks.training_log import validates_after
from ltcls.hooks.unwrap import bare


class Stopped(RuntimeError):
    """A run that ended because a signal asked for it."""

    exit_status = 128 + signal.SIGTERM      # 143, what a shell reports for the signal


# What has been asked for, and the InterruptionHook that can answer.
_request = SimpleNamespace(asked=False, hook=None)


@contextmanager
def stops_on_request():
    """Inside, SIGTERM ends the run at the next iteration, with a checkpoint.

    Raises:
        Stopped: after a SIGTERM; also in place of errors that come after it, such as those of
            loader workers and other ranks that were asked to end as well.
    """
    if threading.current_thread() is not threading.main_thread():
        yield                 # Python lets no other thread set a handler
        return

    def handle(number, frame):
        # Launchers pass on what their group was sent too: a second signal must not cut off the
        # checkpoint that the first one has asked for.
        _request.asked = True
        if _request.hook is None:
            raise Stopped(_line())

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    except Stopped:
        raise
    except Exception as error:
        if _request.asked:
            raise Stopped(_line()) from error
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        _request.asked, _request.hook = False, None


def _line() -> str:
    if _request.hook is None:
        return ('SIGTERM arrived outside training; --resume goes on from the newest checkpoint, or '
                'begins anew where there is none.')
    return f'SIGTERM: {_request.hook.leave()}.'


@contextmanager
def says_how_to_go_on(work_dir: Path):
    """Inside, a stage in this folder; a KeyboardInterrupt leaves it with what to do next."""
    try:
        yield
    except KeyboardInterrupt:
        newest = latest_checkpoint(work_dir)
        raise KeyboardInterrupt(
            f'{work_dir} holds no checkpoint yet, so the same command begins there anew'
            if newest is None else f'--resume goes on from {newest}') from None


class InterruptionHook(Hook):
    """Answers a request to stop, and repeats a validation that an interruption cut off.

    A checkpoint inside an epoch could not be resumed exactly: loader workers, mixing and hooks
    have random numbers and iterators of their own. So the state at the end of each epoch is copied
    to the host's memory, unless the epoch ends with a checkpoint on the disk anyway, and that copy
    is written on request: what is lost is the epoch that was under way.

    A checkpoint is written before the validation of its epoch. A run that resumes from it and finds
    no result of that validation validates first.
    """

    priority = 'LOWEST'

    def __init__(self):
        self.content: dict | None = None      # to be written on request
        self.newest: Path | None = None       # of the last complete epoch
        self.runner = None

    def before_train(self, runner) -> None:
        self.runner = runner
        last = runner.message_hub.runtime_info.get('last_ckpt') if runner.epoch else None
        self.newest = Path(runner.work_dir) / Path(last).name if last else None
        if last and not self.newest.is_file():       # that of another folder is gone on from
            self.newest = Path(runner.cfg.load_from)
        _request.hook = self
        if self._validation_is_missing(runner):
            runner.val_loop.run()

    def after_train_epoch(self, runner) -> None:
        path = Path(runner.work_dir) / f'epoch_{runner.epoch + 1}.pth'
        last = runner.message_hub.runtime_info.get('last_ckpt')
        if last and Path(last).name == path.name:
            self.content, self.newest = None, path
        else:
            content = checkpoint_content(runner)       # on all ranks: hooks may have to meet
            self.content = _to_host(content) if is_main_process() else None
            self.newest = path
        self._answer()

    def _after_iter(self, *arguments, **options) -> None:
        """After every iteration of training, validation and test."""
        self._answer()

    def after_test(self, runner) -> None:
        _request.hook = None

    def _answer(self) -> None:
        if _request.asked:
            raise Stopped(_line())

    def leave(self) -> str:
        """Write the kept state, if there is any; say what there is."""
        if self.content is not None:
            content, self.content = self.content, None
            work_dir = Path(self.runner.work_dir)
            content['meta']['cfg'] = self.runner.cfg.pretty_text
            _enter(content, self.newest)
            save_to_disk(content, str(self.newest))
            (work_dir / 'last_checkpoint').write_text(str(self.newest))
        if self.newest is None:
            return 'no epoch was complete, so there is no checkpoint'
        here = self.newest.parent == Path(self.runner.work_dir)
        return (f"{self.newest} holds the last complete epoch, --resume "
                f"{'' if here else f'{self.newest} '}goes on from there")

    def _validation_is_missing(self, runner) -> bool:
        loop = runner.train_loop
        if not runner.epoch or not validates_after(loop, runner.epoch, runner.val_loop):
            return False
        # Which checkpoint is the best may have been decided after the result was logged.
        missing = [any(isinstance(hook, CheckpointHook) and hook.save_best
                       for hook in runner.hooks)]
        if is_main_process():
            found = [entry for entry in training_log(runner.work_dir)
                     if entry['epoch'] == runner.epoch]
            missing[0] |= bool(found) and 'val' not in found[-1]
        broadcast_object_list(missing)
        return missing[0]


def checkpoint_content(runner) -> dict:
    """What a checkpoint at the end of this epoch holds; tensors are the live ones."""
    model = bare(runner.model)
    content = dict(
        meta=dict(
            epoch=runner.epoch + 1, iter=runner.iter, seed=runner.seed,
            experiment_name=runner.experiment_name, mmengine_version=mmengine.__version__,
            time=time.strftime('%Y%m%d_%H%M%S'),
            dataset_meta=getattr(runner.train_dataloader.dataset, 'metainfo', None)),
        state_dict=model.state_dict(),
        message_hub=runner.message_hub.state_dict(),
        optimizer=runner.optim_wrapper.state_dict(),
        param_schedulers=[scheduler.state_dict() for scheduler in runner.param_schedulers or ()])
    runner.call_hook('before_save_checkpoint', checkpoint=content)
    return content


def _enter(content: dict, path: Path) -> None:
    """Put the checkpoint on the list of those that are kept and removed in turn."""
    info = content['message_hub']
    info = info.get('runtime_info', info)
    info['keep_ckpt_ids'] = [*info.get('keep_ckpt_ids', ()), content['meta']['epoch']]
    info['last_ckpt'] = str(path)


def _to_host(node):
    """A copy whose tensors lie in the host's memory."""
    if isinstance(node, torch.Tensor):
        return node.detach().to('cpu', copy=True)
    if isinstance(node, dict):
        return type(node)((key, _to_host(value)) for key, value in node.items())
    if isinstance(node, (list, tuple)):
        return type(node)(_to_host(value) for value in node)
    return copy.deepcopy(node)
