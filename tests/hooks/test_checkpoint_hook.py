"""What the checkpoint hook remembers of the best checkpoint."""

import pytest
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook

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
