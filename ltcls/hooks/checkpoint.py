"""Checkpoints that replace older ones only when they are on the disk."""

from collections import deque
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook

from ltcls.registry import HOOKS


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """mmengine's hook, in another order: first the new file, then the removal of the old one.

    mmengine removes the oldest checkpoint, and the best one so far, before it writes their
    successors; on a full disk both would be gone. For a moment there is one file more than
    `max_keep_ckpts`. A resumed run also knows its last checkpoint at once, and looks for its best
    one in its own folder: where a copy or another folder goes on, the first folder stays as it is.

    Args:
        arguments: of mmengine's `CheckpointHook`.
    """

    def before_train(self, runner) -> None:
        info = runner.message_hub.runtime_info
        for name in [name for name in info if name.startswith('best_ckpt')]:
            path = Path(runner.work_dir) / Path(info[name]).name
            if path.is_file():
                info[name] = str(path)
            else:      # its score would keep this folder from having a best checkpoint
                del info[name]
                info.pop(name.replace('best_ckpt', 'best_score', 1), None)
        super().before_train(runner)
        if self.last_ckpt is None and runner.epoch and 'last_ckpt' in info:
            self.last_ckpt = info['last_ckpt']

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        old, limit = [], self.max_keep_ckpts
        if limit > 0 and step not in self.keep_ckpt_ids:
            kept = [*self.keep_ckpt_ids, step]
            old, kept = kept[:-limit], kept[-limit:]
            self.keep_ckpt_ids = deque(kept, limit)
            runner.message_hub.update_info('keep_ckpt_ids', kept)
        self.max_keep_ckpts = -1      # so that mmengine removes nothing
        try:
            super()._save_checkpoint_with_step(runner, step, meta)
        except OSError as error:
            if error.errno is None:   # our own, which names the file
                raise
            raise OSError(f"{Path(runner.work_dir) / 'last_checkpoint'} could not be written: "
                          f'{error.strerror}. Make room and continue with --resume.') from error
        finally:
            self.max_keep_ckpts = limit
        for number in old:
            self._remove(self.file_backend.join_path(
                self.out_dir, self.filename_tmpl.format(number)))

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
        if not self.save_best:
            return super()._save_best_checkpoint(runner, metrics)
        single = len(self.key_indicators) == 1
        before = dict(best=self.best_ckpt_path) if single else dict(self.best_ckpt_path_dict)
        self._set_best(dict.fromkeys(before), single)      # so that mmengine removes nothing
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            now = dict(best=self.best_ckpt_path) if single else dict(self.best_ckpt_path_dict)
            self._set_best({key: now[key] or before[key] for key in before}, single)
        for key, path in before.items():
            if path and now[key] and now[key] != path:
                self._remove(path)

    def _set_best(self, paths: dict, single: bool) -> None:
        if single:
            self.best_ckpt_path = paths['best']
        else:
            self.best_ckpt_path_dict = paths

    def _remove(self, path: str) -> None:
        if is_main_process() and self.file_backend.isfile(path):
            self.file_backend.remove(path)
