"""The hook that fits class means, with a model and a dataset small enough to check by hand."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader, Dataset
from two_ranks import on_two_ranks

from ltcls.engine.prepare import Options, load_config
from ltcls.engine.stage import build_runner
from ltcls.hooks import ncm
from ltcls.hooks.ncm import ClassMeanHook
from ltcls.hooks.plain_images import without_augmentation
from ltcls.models.heads import LinearHead, NCMHead
from ltcls.registry import DATASETS


class Points(Dataset):
    """Nine points in the plane, one after another or, with `whole`, a batch at a time."""

    def __init__(self, pipeline=None, whole=False):
        generator = torch.Generator().manual_seed(0)
        self.points = torch.randn(9, 2, generator=generator)
        self.labels = torch.arange(9) % 3
        self.pipeline = pipeline
        if whole:
            self.__class__ = WholePoints

    def __len__(self):
        return 9

    def __getitem__(self, index):
        point = self.points[index]
        return dict(inputs=self.pipeline(point) if self.pipeline else point,
                    labels=int(self.labels[index]))


class WholePoints(Points):

    def __getitems__(self, indices):
        return dict(inputs=self.points[indices], labels=self.labels[indices])


class Model(nn.Module):
    """Doubles the points in eval mode; in training mode dropout and batch norm would interfere."""

    def __init__(self, head=None):
        super().__init__()
        self.norm = nn.BatchNorm1d(2, eps=0)
        self.norm.running_var.fill_(0.25)
        self.dropout = nn.Dropout(0.9)
        self.head = head or NCMHead(2, 3, normalise='none')

    def data_preprocessor(self, data, training=False):
        assert not training, 'augmentation must be off'
        return data

    def extract(self, inputs):
        return self.dropout(self.norm(inputs))


def runner_of(model, dataset, val_dataset=None, test_dataset=Points()):
    val, test = (found and SimpleNamespace(dataloader=DataLoader(found))
                 for found in (val_dataset, test_dataset))
    return SimpleNamespace(model=model, train_dataloader=DataLoader(dataset), val_loop=val,
                           test_loop=test)


def means(points, labels):
    return torch.stack([points[labels == c].mean(0) for c in range(3)])


@pytest.mark.parametrize('whole', [False, True])
@pytest.mark.parametrize('batch_size', [2, 500])
def test_prototypes_are_the_class_means_of_eval_features(whole, batch_size):
    model, dataset = Model().train(), Points(whole=whole)
    ClassMeanHook(batch_size).after_train(runner_of(model, dataset))
    assert_close(model.head.prototypes, means(2 * dataset.points, dataset.labels))
    assert model.training and model.norm.training
    assert_close(model.norm.running_var, torch.full((2,), 0.25), rtol=0, atol=0)


def test_a_dataset_with_a_pipeline_is_read_through_the_validation_pipeline():
    model, dataset = Model(), Points(pipeline=lambda point: point * torch.rand(1))
    training_pipeline = dataset.pipeline
    hook, val_dataset = ClassMeanHook(), Points(pipeline=lambda point: point + 1)
    hook.after_train(runner_of(model, dataset, val_dataset))
    assert_close(model.head.prototypes, means(2 * dataset.points + 2, dataset.labels))
    assert dataset.pipeline is training_pipeline
    hook.after_train(runner_of(model, dataset, None, Points(pipeline=lambda point: point + 2)))
    assert_close(model.head.prototypes, means(2 * dataset.points + 4, dataset.labels))


@pytest.mark.parametrize('open_set', [False, True])
@pytest.mark.parametrize('validated', [False, True])
def test_the_images_of_a_run_are_read_as_in_its_evaluation(open_set, validated, tmp_path):
    known = dict(type='DigitsLT', held_out=2, pipeline=[dict(type='RandomInvert', p=1.0)])
    data = dict(type='OpenSet', known=known, held_out=[3]) if open_set else known
    tested = dict(type='OpenSet', known=dict(type='DigitsLT', split='test'), held_out=[3])
    options = {'train_dataloader.dataset': dict(data, _delete_=True),
               'test_dataloader.dataset': dict(tested, _delete_=True),
               'val_dataloader.dataset': dict(tested, _delete_=True),
               'data_preprocessor.num_classes': 9}
    if not validated:
        options.update({'val_dataloader': None, 'val_cfg': None, 'val_evaluator': None})
    runner = build_runner(load_config('ce_resnet20_digits', Options(
        work_dir=tmp_path, cfg_options=options)))
    dataset = DATASETS.build(dict(data, split='dev'))
    plain = without_augmentation(dataset, runner)
    plain, changed = (getattr(found, 'known', found) for found in (plain, dataset))
    assert plain.pipeline is None and changed.pipeline is not None


def test_ranks_share_the_images_and_leave_none_out(monkeypatch):
    model, dataset, seen = Model(), Points(), []
    monkeypatch.setattr(ncm, 'get_world_size', lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(ncm, 'get_rank', lambda: rank)
        seen += [features for features, _ in ClassMeanHook(2).features(model, dataset)]
    seen = torch.cat(seen) / 2
    assert_close(seen, torch.cat([dataset.points[0::2], dataset.points[1::2]]))


def test_a_head_without_class_means_is_refused_by_name():
    with pytest.raises(TypeError, match='LinearHead'):
        ClassMeanHook().after_train(runner_of(Model(LinearHead(2, 3)), Points()))


def fitted(rank: int) -> dict:
    model = Model()
    ClassMeanHook(2).after_train(runner_of(model, Points()))
    return dict(means=model.head.prototypes)


def test_ranks_fit_the_means_of_all_images(tmp_path):
    points, labels = 2 * Points().points, Points().labels
    expected = torch.stack([points[labels == c].mean(dim=0) for c in range(3)])
    for found in on_two_ranks(fitted, tmp_path):
        assert_close(found['means'], expected)
