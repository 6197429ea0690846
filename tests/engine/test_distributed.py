"""Two ranks on CPUs: `ltcls train CONFIG --launcher pytorch`, over gloo."""

import json

import pytest
import torch
from processes import ranks
from torch import nn

from ltcls.engine.distributed import setup_distributed
from ltcls.engine.prepare import Options, load_config
from ltcls.evaluation.record import read_record

CE = '''
_base_ = 'ltcls::ce/ce_resnet20_digits.py'
custom_imports = dict(imports=['lt_test_hooks'])
model = dict(backbone=dict(depth=8))
train_dataloader = dict(batch_size=32)
param_scheduler = None
custom_hooks = [dict(type='KillHook')]
train_cfg = dict(max_epochs=2, val_interval=1)
'''
TAU_NORM = '''
_base_ = './ce_resnet8_digits.py'
init_from = dict(config='ce_resnet8_digits.py', parts=['backbone', 'head'])
model = dict(frozen=['backbone'], head=dict(type='TauNormHead'))
train_cfg = dict(max_epochs=0)
'''


@pytest.fixture(scope='module')
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp('configs')
    (folder / 'ce_resnet8_digits.py').write_text(CE)
    (folder / 'tau-norm_resnet8_digits.py').write_text(TAU_NORM)
    return folder / 'tau-norm_resnet8_digits.py'


@pytest.fixture(scope='module')
def finished(recipe, tmp_path_factory):
    """The folder of two stages, trained and tested by two ranks, with the weights of each rank."""
    folder = tmp_path_factory.mktemp('runs')
    statuses = ranks(
        2, 'train', recipe, '--launcher', 'pytorch', '--work-dir', folder / recipe.stem,
        output=folder / 'out.txt', LTCLS_TEST_WEIGHTS=str(folder))
    said = [(folder / f'out.{rank}').read_text() for rank in range(2)]
    assert statuses == [0, 0], said
    return folder


def test_ranks_end_with_equal_weights_that_training_has_moved(finished):
    for stage in ('ce_resnet8_digits', 'tau-norm_resnet8_digits'):
        first, second = (torch.load(finished / f'{stage}_{rank}.pth') for rank in range(2))
        for name, value in first.items():
            # Batch norm counts its own images on each rank; its statistics are not averaged.
            if 'running' not in name:
                assert torch.equal(value, second[name]), name
    saved = torch.load(finished / 'ce_resnet8_digits' / 'epoch_2.pth')['state_dict']
    trained = torch.load(finished / 'ce_resnet8_digits_0.pth')
    assert all(torch.equal(saved[name], value) for name, value in trained.items())
    momenta = torch.load(finished / 'ce_resnet8_digits' / 'epoch_2.pth')['optimizer']['state']
    assert len(momenta) == len([n for n in saved if n.endswith(('weight', 'bias'))])
    assert all(state['momentum_buffer'].any() for state in momenta.values())


def test_each_test_image_counts_once(finished):
    record = read_record(finished / 'ce_resnet8_digits' / 'evaluation.json')
    assert record['overall']['images'] == 500
    assert [row['total'] for row in record['per_class']] == [50] * 10
    assert sum(sum(row) for row in record['confusion']) == 500


def test_an_epoch_is_shared_by_the_ranks(finished):
    # 353 images in batches of 32 on two ranks: six iterations an epoch, not twelve.
    content = torch.load(finished / 'ce_resnet8_digits' / 'epoch_2.pth')
    assert content['meta']['iter'] == 2 * 6
    lines = (finished / 'ce_resnet8_digits' / 'log.jsonl').read_text().splitlines()
    assert [json.loads(line)['epoch'] for line in lines] == [1, 2]


def test_a_stage_with_nothing_to_train_runs_on_two_ranks_too(finished):
    folder = finished / 'tau-norm_resnet8_digits'
    assert read_record(folder / 'evaluation.json')['epoch'] == 0
    earlier = torch.load(finished / 'ce_resnet8_digits' / 'epoch_2.pth')['state_dict']
    saved = torch.load(folder / 'epoch_0.pth')['state_dict']
    assert all(torch.equal(value, earlier[name]) for name, value in saved.items())


def test_the_first_rank_alone_speaks(finished):
    assert 'epoch 2/2' in (finished / 'out.0').read_text()
    assert 'epoch' not in (finished / 'out.1').read_text()


def test_an_error_on_all_ranks_ends_all_of_them(recipe, tmp_path):
    statuses = ranks(2, 'train', recipe, '--launcher', 'pytorch', '--work-dir', tmp_path / 'run',
                     '--cfg-options', 'model.frozen=["neck"]', output=tmp_path / 'out.txt')
    assert statuses == [2, 2]
    assert "error: model.frozen names 'neck'" in (tmp_path / 'out.0').read_text()


def test_one_process_needs_no_group():
    with setup_distributed('none'):
        assert not torch.distributed.is_initialized()
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match='--launcher slurm needs GPUs'):
            with setup_distributed('slurm'):
                pass


def test_the_launcher_is_not_part_of_the_experiment(recipe):
    from ltcls.engine.prepare import first_difference, plain_config
    one, many = (load_config(recipe, Options(launcher=name)) for name in ('none', 'pytorch'))
    assert first_difference(plain_config(one), plain_config(many)) is None


def test_the_wrapper_shows_the_attributes_of_the_classifier(monkeypatch):
    from torch.nn.parallel import DistributedDataParallel

    from ltcls.models import DistributedClassifier
    given = {}

    def fake(self, module, **kwargs):
        nn.Module.__init__(self)
        self.module, given['kwargs'] = module, kwargs
        given['trainable'] = any(p.requires_grad for p in module.parameters())
    monkeypatch.setattr('mmengine.model.MMDistributedDataParallel.__init__', fake)
    assert issubclass(DistributedClassifier, DistributedDataParallel)
    model = nn.Linear(2, 3).requires_grad_(False)
    wrapper = DistributedClassifier(model, device_ids=[0])
    assert wrapper.in_features == 2 and given['kwargs'].pop('device_ids') is None
    assert list(given['kwargs'].values()) == [False]        # buffers are not broadcast
    assert given['trainable'] and not any(p.requires_grad for p in model.parameters())
    with pytest.raises(AttributeError, match='no attribute'):
        wrapper.nothing
