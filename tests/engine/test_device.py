"""What fits a run to its device; GPUs are tried on a device that holds no values."""

import ctypes
import platform

import pytest
import torch
from mmengine.config import Config
from torch.utils.data import DataLoader

from ltcls.datasets import DigitsLT, RandomImages, collate_batch
from ltcls.engine.device import (fuse_optimizer, keep_freed_memory, pin_batches, place_data,
                                 slow_precision)

META = torch.device('meta')


def loader_of(dataset, **options):
    return DataLoader(dataset, batch_size=4, collate_fn=collate_batch, **options)


def test_images_in_memory_are_fetched_where_they_were_placed():
    loaders = [loader_of(DigitsLT(split='test')), loader_of(RandomImages(num_classes=3))]
    place_data(loaders, META)
    for loader in loaders:
        batch = next(iter(loader))
        assert batch['inputs'].device == META and batch['labels'].device == META
        assert batch['inputs'].dtype == torch.uint8 and batch['inputs'].shape[0] == 4


def test_placing_changes_no_batch():
    here, placed = DigitsLT(imbalance=10), DigitsLT(imbalance=10)
    place_data([loader_of(placed)], torch.device('cpu'))
    for ours, theirs in zip(loader_of(placed), loader_of(here)):
        assert torch.equal(ours['inputs'], theirs['inputs'])
        assert torch.equal(ours['labels'], theirs['labels'])
    assert placed.fingerprint == here.fingerprint


def test_loaders_with_workers_and_images_one_by_one_stay_where_they_are():
    flips = RandomImages(num_classes=3, pipeline=[dict(type='RandomHorizontalFlip')])
    worked = RandomImages(num_classes=3)
    place_data([loader_of(flips), loader_of(worked, num_workers=1)], META)
    assert flips.images.device.type == worked.images.device.type == 'cpu'


def optimizer_on(device, **optimizer):
    cfg = Config(dict(optim_wrapper=dict(optimizer=optimizer)))
    fuse_optimizer(cfg, device)
    return cfg.optim_wrapper.optimizer


def test_optimizers_are_fused_on_a_gpu_unless_the_config_says_otherwise():
    assert optimizer_on('cuda', type='SGD', lr=0.1).fused is True
    assert optimizer_on('cuda', type='SGD', lr=0.1, fused=False).fused is False
    assert 'fused' not in optimizer_on('cuda', type='SGD', lr=0.1, foreach=True)
    assert 'fused' not in optimizer_on('cuda', type='Adagrad', lr=0.1)
    assert 'fused' not in optimizer_on('cpu', type='SGD', lr=0.1)


def pinned_on(device, **loader):
    cfg = Config(dict(train_dataloader=loader, val_dataloader=None))
    pin_batches(cfg, device)
    return cfg.train_dataloader.get('pin_memory')


def test_batches_of_workers_are_pinned_for_a_gpu_unless_the_config_says_otherwise():
    assert pinned_on('cuda', num_workers=2) is True
    assert pinned_on('cuda', num_workers=2, pin_memory=False) is False
    assert pinned_on('cuda', num_workers=0) is None      # images in memory go to the GPU
    assert pinned_on('cpu', num_workers=2) is None


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), 'mallopt'), reason='not the GNU C library')
def test_a_block_that_was_freed_is_used_again_without_new_pages():
    import resource
    keep_freed_memory()
    faults = []
    for _ in range(12):           # small blocks between the first ones may keep them apart
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.zeros(2 ** 24)      # 64 MiB are 16384 pages
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    assert faults[-1] < 100, faults


@pytest.mark.parametrize('machine, instructions, slow', [
    ('x86_64', 'AVX2', True), ('AMD64', 'DEFAULT', True), ('x86_64', 'AVX512', False),
    ('arm64', 'DEFAULT', False), ('aarch64', 'SVE256', False)])
def test_16_bits_are_slow_on_processors_that_have_no_arithmetic_for_them(machine, instructions,
                                                                         slow, monkeypatch):
    monkeypatch.setattr(platform, 'machine', lambda: machine)
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: instructions)
    assert slow_precision('bfloat16', 'cpu') == slow_precision('float16', 'cpu') == slow
    assert not slow_precision('float32', 'cpu') and not slow_precision(None, 'cpu')
    assert not slow_precision('bfloat16', 'cuda')
