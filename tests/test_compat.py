"""Checkpoints of stock mmengine and of ltcls: what is read, what is refused, how they are written."""

import collections
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from mmengine.device import get_device
from mmengine.device import utils as mmengine_device
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner import runner as mmengine_runner
from mmengine.runner.checkpoint import CheckpointLoader, _load_checkpoint

import ltcls.compat
from ltcls.compat import load_from_disk, save_to_disk


def stock_checkpoint():
    """What mmengine's runner puts into a file: histories of numbers in several numpy types."""
    history = HistoryBuffer([1.0, 2.0, 4.0], [1, 1, 1], max_length=100)
    return dict(
        meta=dict(epoch=3, iter=18, seed=0, dataset_meta=dict(classes=['a', 'b'])),
        state_dict=collections.OrderedDict(weight=torch.arange(3.0)),
        message_hub=dict(
            log_scalars=collections.OrderedDict({'train/loss': history}),
            runtime_info=collections.OrderedDict(
                epoch=3, best=np.float64(0.5), count=np.int64(7), values=np.arange(3)),
            resumed_keys=collections.OrderedDict({'train/loss': True})))


class Calls:
    """Pickled as a call of any function with any arguments."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


# -- reading --------------------------------------------------------------------------------


def test_a_stock_checkpoint_is_read_with_its_histories(tmp_path):
    path = tmp_path / 'epoch_3.pth'
    torch.save(stock_checkpoint(), path)
    content = _load_checkpoint(str(path), map_location='cpu')
    history = content['message_hub']['log_scalars']['train/loss']
    assert isinstance(history, HistoryBuffer)
    assert history.mean(window_size=2) == 3.0 and history.current() == 4.0
    info = content['message_hub']['runtime_info']
    assert (info['best'], info['count']) == (0.5, 7) and info['values'].tolist() == [0, 1, 2]


def test_torch_alone_refuses_a_stock_checkpoint(tmp_path):
    # Expected to fail when mmengine writes plain checkpoints: the allow-list can go then.
    path = tmp_path / 'epoch_3.pth'
    torch.save(stock_checkpoint(), path)
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with pytest.raises(pickle.UnpicklingError):
            torch.load(path, weights_only=True)
    finally:
        torch.serialization.add_safe_globals(allowed)
    torch.load(path, weights_only=True)


@pytest.mark.parametrize('package', ['numpy.core', 'numpy._core'])
def test_a_file_of_either_numpy_is_read(tmp_path, package):
    # Pickled by name: numpy 1 calls the package numpy.core, numpy 2 numpy._core.
    path = tmp_path / 'epoch_3.pth'
    torch.save(dict(values=np.arange(3.0)), path)
    written = np.zeros(1).__reduce__()[0].__module__.rpartition('.')[0].encode()
    with zipfile.ZipFile(path) as stored:
        members = {name: stored.read(name) for name in stored.namelist()}
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as stored:
        for name, content in members.items():
            stored.writestr(name, content.replace(written, package.encode()))
    assert written in b''.join(members.values())
    assert load_from_disk(str(path))['values'].tolist() == [0, 1, 2]


@pytest.mark.parametrize('call, named', [
    (Calls(os.system, 'true'), 'system'),
    (Calls(eval, '1'), 'eval'),
    (Calls(getattr, HistoryBuffer, '__init__'), "refused attribute '__init__'"),
    (Calls(getattr, np.ndarray, 'tofile'), "refused attribute 'tofile'"),
    (Calls(getattr, HistoryBuffer([1.0], [1]), 'mean'), "refused attribute 'mean'"),
])
def test_a_file_that_asks_for_more_than_data_is_refused_in_one_line(tmp_path, call, named):
    path = tmp_path / 'epoch_3.pth'
    torch.save(dict(stock_checkpoint(), surprise=call), path)
    with pytest.raises(ValueError, match='epoch_3.pth cannot be read as a checkpoint') as caught:
        load_from_disk(str(path))
    assert named in str(caught.value) and '\n' not in str(caught.value)
    assert 'weights_only' not in str(caught.value)       # no advice to switch the protection off


def test_a_damaged_file_and_a_missing_one_are_told_apart(tmp_path):
    path = tmp_path / 'epoch_3.pth'
    torch.save(stock_checkpoint(), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match='epoch_3.pth cannot be read .* damaged') as caught:
        load_from_disk(str(path))
    assert '\n' not in str(caught.value)
    path.write_text('no checkpoint at all')
    with pytest.raises(ValueError, match='cannot be read'):
        load_from_disk(str(path))
    with pytest.raises(FileNotFoundError, match='There is no checkpoint .*nothing.pth'):
        load_from_disk(str(tmp_path / 'nothing.pth'))


def test_the_config_text_of_old_checkpoints_does_not_reach_mmengine(tmp_path):
    # Its runner would execute it on resume, to look for a number of GPUs.
    path = tmp_path / 'epoch_3.pth'
    torch.save(dict(meta=dict(epoch=1, config='import os'), state_dict={}), path)
    assert load_from_disk(str(path))['meta'] == dict(epoch=1)


def test_every_way_to_a_file_is_protected(tmp_path):
    assert CheckpointLoader._get_checkpoint_loader('/some/epoch_3.pth') is load_from_disk
    assert mmengine_checkpoint.load_url.keywords == dict(weights_only=True)


# -- writing --------------------------------------------------------------------------------


def test_the_runner_writes_with_the_function_that_leaves_no_half_file():
    assert mmengine_runner.save_checkpoint is save_to_disk


def test_a_file_that_is_written_replaces_the_old_one_at_once(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    save_to_disk(dict(value=1), str(path))
    save_to_disk(dict(value=2), str(path))
    assert torch.load(path) == dict(value=2)
    assert [p.name for p in tmp_path.iterdir()] == ['epoch_1.pth']


def test_a_failure_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'epoch_1.pth'
    save_to_disk(dict(value=1), str(path))

    def half(content, file):
        file.write(b'half of a checkp')
        raise OSError('No space left on device')
    monkeypatch.setattr(ltcls.compat.torch, 'save', half)
    with pytest.raises(OSError, match='No space left'):
        save_to_disk(dict(value=2), str(path))
    monkeypatch.undo()
    assert torch.load(path) == dict(value=1)
    assert [p.name for p in tmp_path.iterdir()] == ['epoch_1.pth']


def test_what_is_written_is_whole(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    save_to_disk(dict(weight=torch.arange(1000.0)), str(path))
    assert zipfile.ZipFile(path).testzip() is None
    assert torch.equal(load_from_disk(str(path))['weight'], torch.arange(1000.0))


def test_only_the_first_rank_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(ltcls.compat, 'is_main_process', lambda: False)
    save_to_disk(dict(value=1), str(tmp_path / 'epoch_1.pth'))
    assert not list(tmp_path.iterdir())


def test_timm_batch_norms_keep_their_activation_when_they_are_synchronised():
    timm = pytest.importorskip('timm')
    model = timm.create_model('regnetx_002', num_classes=0).eval()
    images = torch.randn(2, 3, 64, 64)
    expected = model(images)
    found = ltcls.compat.mmengine_runner.convert_sync_batchnorm(model, 'torch')
    kinds = {type(module).__name__ for module in found.modules()}
    assert 'SyncBatchNormAct' in kinds and not any(kind.startswith('BatchNorm') for kind in kinds)
    torch.testing.assert_close(found(images), expected)
    plain = ltcls.compat.mmengine_runner.convert_sync_batchnorm(torch.nn.BatchNorm2d(3), 'torch')
    assert type(plain) is torch.nn.SyncBatchNorm


# -- the device -----------------------------------------------------------------------------


def test_the_gpu_of_an_apple_machine_is_left_alone(monkeypatch):
    for found, used in (('mps', 'cpu'), ('cuda', 'cuda'), ('cpu', 'cpu')):
        monkeypatch.setattr(mmengine_device, 'DEVICE', found)
        ltcls.compat.leave_metal_alone()
        assert get_device() == used
