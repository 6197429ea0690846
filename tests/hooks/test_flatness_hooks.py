"""Weight averaging and spectral normalisation."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import EMAHook
from torch import nn
from torch.testing import assert_close

from ltcls.engine.prepare import Options
from ltcls.engine.recipe import run
from ltcls.hooks import SpectralNormHook, SWAHook
from ltcls.hooks.weight_average import measure_batch_norm
from ltcls.models import BatchPreprocessor
from ltcls.optim_wrappers import SAM
from ltcls.registry import MODELS


def classifier():
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='Classifier', backbone=dict(type='CIFARResNet', depth=8), head=dict(type='CosineHead'),
        loss=dict(type='CrossEntropyLoss'), data_preprocessor=BatchPreprocessor(
            num_classes=3, mean=[0.5] * 3, std=[0.25] * 3)))
    model.bind([5, 3, 2])
    return model.train()


def batches(count=3):
    generator = torch.Generator().manual_seed(1)
    return [dict(inputs=torch.randint(0, 256, (4, 3, 8, 8), generator=generator,
                                      dtype=torch.uint8), labels=torch.tensor([0, 1, 2, 0]))
            for _ in range(count)]


def runner_of(model, epoch=0, max_epochs=3, loader=()):
    return SimpleNamespace(model=model, epoch=epoch, max_epochs=max_epochs,
                           train_dataloader=loader, hooks=[])


# -- SWA ------------------------------------------------------------------------------------------


def test_the_average_has_equal_shares():
    hook = SWAHook(begin=0)
    for weights in ((1.0, 2.0), (0.5, 1.0), (0.3, 0.6)):
        hook.update([torch.tensor(weights, dtype=torch.float64)])
    assert_close(hook.average[0], torch.tensor([0.6, 1.2], dtype=torch.float64))


def test_the_last_epoch_leaves_the_average_and_its_batch_norm_in_the_model():
    model, hook, seen = classifier(), SWAHook(begin=1), []
    for epoch in range(3):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))
        seen.append([parameter.detach().clone() for parameter in model.parameters()])
        hook.after_train_epoch(runner_of(model, epoch, 3, batches()))
    for parameter, second, third in zip(model.parameters(), seen[1], seen[2]):
        assert_close(parameter.detach(), (second + third) / 2)
    inputs = [model.data_preprocessor(batch, True)['inputs'] for batch in batches()]
    outs = [model.backbone.conv1(x) for x in inputs]
    means = torch.stack([out.mean(dim=(0, 2, 3)) for out in outs]).mean(dim=0)
    assert_close(model.backbone.bn1.running_mean, means.detach())
    assert model.backbone.bn1.momentum == 0.1 and model.backbone.bn1.num_batches_tracked == 3


def test_a_resumed_average_continues():
    whole, first = SWAHook(begin=0), SWAHook(begin=0)
    values = [torch.randn(4) for _ in range(3)]
    for value in values:
        whole.update([value])
    first.update(values[:1])
    checkpoint = {}
    first.before_save_checkpoint(None, checkpoint)
    checkpoint = copy.deepcopy(checkpoint)
    again = SWAHook(begin=0)
    again.after_load_checkpoint(None, checkpoint)
    for value in values[1:]:
        again.update([value])
    assert torch.equal(again.average[0], whole.average[0])
    empty = {}
    SWAHook(begin=5).before_save_checkpoint(None, empty)
    assert not empty


def test_batch_norm_in_frozen_parts_keeps_its_statistics():
    model = classifier()
    model.frozen = ['backbone']
    model.backbone.bn1.running_mean.fill_(3.0)
    measure_batch_norm(model.train(), [torch.randn(4, 3, 8, 8)])
    assert torch.equal(model.backbone.bn1.running_mean, torch.full((16,), 3.0))


# -- spectral normalisation -----------------------------------------------------------------------


def test_the_power_iteration_finds_the_singular_value():
    # W has singular values 6.70820393 and 2.23606798. An iteration gives v = W'u / |W'u| and then
    # u = Wv / |Wv|; from u = (1, 0) the estimates |Wv| are 5, 6.67174603, 6.70774957. Torch takes u
    # before v: from the first v, which is (1, 0), its estimates are the |W'u| in between.
    matrix = torch.tensor([[3.0, 0.0], [4.0, 5.0]])
    u, by_v, by_u = torch.tensor([1.0, 0.0]), [], []
    for _ in range(3):
        v = torch.nn.functional.normalize(matrix.T @ u, dim=0)
        by_v.append((matrix @ v).norm())
        u = torch.nn.functional.normalize(matrix @ v, dim=0)
        by_u.append((matrix.T @ u).norm())
    assert_close(torch.stack(by_v), torch.tensor([5, 6.67174603, 6.70774957]))
    model = classifier()
    with torch.no_grad():
        model.head.weight = nn.Parameter(matrix.clone())
    SpectralNormHook(parts=['head']).before_run(runner_of(model))
    spectral = model.head.parametrizations.weight[0]
    spectral._u.copy_(torch.tensor([1.0, 0.0]))
    spectral._v.copy_(torch.tensor([1.0, 0.0]))
    estimates = []
    for _ in range(3):
        original = model.head.parametrizations.weight.original
        estimates.append(original[0, 0] / model.head.weight[0, 0])
    assert_close(torch.stack(estimates).detach(), torch.stack(by_u))
    assert_close(torch.linalg.matrix_norm(matrix, ord=2), torch.tensor(6.70820393))
    for _ in range(30):
        model.head.weight
    assert_close(model.head.weight.detach(), torch.tensor([[0.44721360, 0],
                                                           [0.59628479, 0.74535599]]))


def test_the_optimizer_goes_on_with_the_same_parameters_under_sam():
    model = classifier()
    wrapper = SAM(torch.optim.SGD(model.parameters(), lr=0.1))
    known = {id(p) for p in model.parameters()}
    SpectralNormHook().before_run(runner_of(model))
    SpectralNormHook().before_run(runner_of(model))      # a test after training comes by again
    assert {id(p) for p in model.parameters()} == known
    before = [p.detach().clone() for p in model.parameters()]
    vector = model.backbone.conv1.parametrizations.weight[0]._u.clone()
    model.train_step(batches()[0], wrapper)
    assert any(not torch.equal(p, old) for p, old in zip(model.parameters(), before))
    assert not torch.equal(model.backbone.conv1.parametrizations.weight[0]._u, vector)
    norms = [torch.linalg.matrix_norm(module.weight.detach().flatten(1), ord=2)
             for module in (model.backbone.conv1, model.head)]
    assert all(0.8 < norm < 1.2 for norm in norms)


def test_checkpoints_hold_plain_weights_and_what_resuming_needs():
    model, hook = classifier(), SpectralNormHook()
    hook.before_run(runner_of(model))
    inputs = torch.randn(4, 3, 8, 8)
    expected = model.eval()(inputs)
    checkpoint = dict(state_dict=model.state_dict())
    hook.before_save_checkpoint(runner_of(model), checkpoint)
    plain = classifier()
    assert checkpoint['state_dict'].keys() == plain.state_dict().keys()
    plain.load_state_dict(checkpoint['state_dict'])
    assert_close(plain.eval()(inputs), expected, atol=1e-5, rtol=1e-4)
    again, hook = classifier(), SpectralNormHook()
    hook.before_run(runner_of(again))
    hook.after_load_checkpoint(runner_of(again), checkpoint)
    again.load_state_dict(checkpoint['state_dict'])
    assert torch.equal(again.eval()(inputs), expected)


def test_saving_a_spectrally_normalised_model_iterates_nothing():
    model, hook = classifier(), SpectralNormHook(parts=['head'], iterations=5)
    hook.before_run(runner_of(model))
    assert model.head.parametrizations.weight[0].n_power_iterations == 5
    before = {name: value.clone() for name, value in model.state_dict().items()}
    hook.before_save_checkpoint(runner_of(model), dict(state_dict=model.state_dict()))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_parts_without_anything_that_trains_are_refused():
    model = classifier()
    model.backbone.requires_grad_(False)
    with pytest.raises(ValueError, match=r"parts=\['backbone'\].*no weight that trains"):
        SpectralNormHook(parts=['backbone']).before_run(runner_of(model))
    runner = runner_of(classifier())
    runner.hooks = [EMAHook()]
    with pytest.raises(ValueError, match="use SWAHook instead of EMAHook"):
        SpectralNormHook().before_run(runner)
    with pytest.raises(ValueError, match='begin=-1'):
        SWAHook(begin=-1)


# -- whole runs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(('name', 'options'), [
    ('ce-swa-crt-swa_resnet32_cifar10', {'custom_hooks': [dict(type='SWAHook', begin=0)]}),
    ('ce-sn-crt-sn_resnet32_cifar10', {})])
def test_two_stages_run_and_leave_plain_checkpoints(name, options, tmp_path):
    run(name, Options(work_dir=tmp_path / name, dry_run=True, cfg_options=options))
    earlier = name.replace('-crt-swa', '').replace('-crt-sn', '')
    contents = [torch.load(tmp_path / stage / 'epoch_1.pth') for stage in (earlier, name)]
    for content in contents:
        assert 'head.weight' in content['state_dict']
        assert not any('parametrizations' in key for key in content['state_dict'])
        assert ('swa' in content) == ('swa' in name)
    first, second = (content['state_dict'] for content in contents)
    assert torch.equal(first['backbone.conv1.weight'], second['backbone.conv1.weight'])
    assert not torch.equal(first['head.weight'], second['head.weight'])
    if '-sn' in name:
        norm = torch.linalg.matrix_norm(first['backbone.layer1.0.conv1.weight'].flatten(1), ord=2)
        assert float(norm) == pytest.approx(1, abs=0.2)
