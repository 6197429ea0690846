"""What the checkpoint hook remembers of the best checkpoint."""

from types import SimpleNamespace

import pytest
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.logging import MessageHub

from ltcls.hooks import CheckpointHook


@pytest.mark.parametrize(('keys', 'name', 'best'), [
    (['accuracy'], 'best_ckpt_path', 'old.pth'),
    (['accuracy', 'few'], 'best_ckpt_path_dict', dict(accuracy='a.pth', few='b.pth'))],
    ids=['one', 'two'])
def test_the_best_checkpoint_is_remembered_over_a_worse_epoch(monkeypatch, keys, name, best):
    monkeypatch.setattr(MMEngineCheckpointHook, '_save_best_checkpoint', lambda *arguments: None)
    hook = CheckpointHook(interval=1, save_best=keys, rule='greater')
    hook.key_indicators = keys
    setattr(hook, name, best)
    hook._save_best_checkpoint(None, {})
    assert getattr(hook, name) == best


def resumed(folder, best, keys):
    """A runner in `folder` that has read a checkpoint whose best ones are these files."""
    hub = MessageHub(f'of {folder}')
    for key, path in zip(keys, best):
        suffix = f'_{key}' if len(keys) > 1 else ''
        hub.update_info(f'best_ckpt{suffix}', str(path))
        hub.update_info(f'best_score{suffix}', 0.9)
    folder.mkdir(exist_ok=True)

    def save(out_dir, filename, *arguments, **options):
        (folder / filename).touch()
    return SimpleNamespace(
        work_dir=str(folder), message_hub=hub, epoch=4, iter=40, save_checkpoint=save,
        logger=SimpleNamespace(info=lambda line: None))


@pytest.mark.parametrize('keys', [['accuracy'], ['accuracy', 'few']])
def test_a_run_that_goes_on_from_another_folder_leaves_its_best_checkpoint_there(tmp_path, keys):
    (tmp_path / 'a').mkdir()
    best = [tmp_path / 'a' / f'best_{key}_epoch_1.pth' for key in keys]
    for path in best:
        path.touch()
    runner = resumed(tmp_path / 'b', best, keys)
    hook = CheckpointHook(interval=1, save_best=keys, rule='greater')
    hook.before_train(runner)
    # The best score is that of a file which is not here; the folder gets one of its own.
    hook._save_best_checkpoint(runner, dict.fromkeys(keys, 0.5))
    assert all(path.is_file() for path in best)
    assert {path.name for path in (tmp_path / 'b').glob('best_*')} == {
        f'best_{key}_epoch_4.pth' for key in keys}


@pytest.mark.parametrize('keys', [['accuracy'], ['accuracy', 'few']])
def test_a_copy_of_a_folder_keeps_a_best_checkpoint_of_its_own(tmp_path, keys):
    for folder in ('a', 'copy'):
        (tmp_path / folder).mkdir()
        for key in keys:
            (tmp_path / folder / f'best_{key}_epoch_1.pth').touch()
    best = [tmp_path / 'a' / f'best_{key}_epoch_1.pth' for key in keys]
    runner = resumed(tmp_path / 'copy', best, keys)
    hook = CheckpointHook(interval=1, save_best=keys, rule='greater')
    hook.before_train(runner)
    hook._save_best_checkpoint(runner, dict.fromkeys(keys, 0.5))     # worse
    names = {path.name for path in best}
    assert {path.name for path in (tmp_path / 'copy').glob('best_*')} == names
    hook._save_best_checkpoint(runner, dict.fromkeys(keys, 0.95))
    assert {path.name for path in (tmp_path / 'copy').glob('best_*')} == {
        f'best_{key}_epoch_4.pth' for key in keys}
    assert all(path.is_file() for path in best)
