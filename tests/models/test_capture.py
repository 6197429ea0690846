"""A captured backbone computes what the eager one does, under every optim wrapper."""

import copy

import pytest
import torch
from torch.testing import assert_close

from ltcls.longtail import Clock
from ltcls.models import Classifier
from ltcls.models.capture import check_torch, own_gradients
from ltcls.registry import OPTIM_WRAPPERS

COUNTS = [40, 20, 10, 5]
MODEL = dict(
    backbone=dict(type='CIFARResNet', depth=8, in_channels=3),
    head=dict(type='LinearHead'),
    loss=dict(type='GCLLoss', cloud_size=0.5),
    data_preprocessor=dict(type='BatchPreprocessor', num_classes=4, mean=[0.5] * 3, std=[0.25] * 3))
WRAPPERS = [
    dict(type='OptimWrapper'),
    dict(type='PerturbedOptimWrapper', accumulative_counts=2, clip_grad=dict(max_norm=0.5)),
    dict(type='SAM', rho=0.05),
    dict(type='GNM', rho=0.01),
    dict(type='CCSAM', radius=0.01),
    dict(type='GradientNormPenalty', rho=0.05),
]
can_compile = pytest.mark.skipif(torch.__version__ < (2, 5), reason='not compiled on this torch')


def classifier(**options):
    torch.manual_seed(0)
    model = Classifier(**MODEL, **options)
    model.bind(COUNTS)
    model.set_clock(Clock(1, 10, 0.1))
    return model.train()


def batches(sizes=(6, 6, 5)):      # the last batch of an epoch has another shape
    generator = torch.Generator().manual_seed(1)
    for size in sizes:
        yield dict(
            inputs=torch.randint(0, 256, (size, 3, 8, 8), generator=generator, dtype=torch.uint8),
            labels=torch.randint(0, 4, (size,), generator=generator))


def trained(model, wrapper):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    wrapper = OPTIM_WRAPPERS.build(dict(wrapper, optimizer=optimizer))
    wrapper.initialize_count_status(model, 0, 4)
    torch.manual_seed(2)
    for batch in batches():
        model.train_step(batch, wrapper)
    return model.state_dict()


@can_compile
@pytest.mark.parametrize('wrapper', WRAPPERS, ids=lambda wrapper: wrapper['type'])
def test_a_captured_backbone_trains_to_the_same_weights_and_statistics(wrapper):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    eager = trained(classifier(), wrapper)
    captured = trained(classifier(compile='aot_eager'), wrapper)
    assert torch._dynamo.utils.counters['stats']['unique_graphs'] > 0
    assert not torch._dynamo.utils.counters['graph_break']
    assert list(captured) == list(eager)      # a checkpoint fits either
    for name, value in eager.items():
        assert_close(captured[name], value, rtol=1e-4, atol=1e-5, msg=lambda text: f'{name}: {text}')


@can_compile
@pytest.mark.parametrize('wrapper', [dict(type='ImbSAM'), dict(type='CCSAM', perturb='all')],
                         ids=['ImbSAM', 'CCSAM(all)'])
def test_a_wrapper_that_cannot_be_captured_says_so(wrapper):
    with pytest.raises(ValueError, match='set model.compile and model.cuda_graphs to False'):
        trained(classifier(compile='aot_eager'), wrapper)


def test_an_old_torch_is_refused():
    for version in ('2.5.0', '2.10.1+cu126', '2.15.0a0', '3.0.0'):
        check_torch(version)
    with pytest.raises(ValueError, match='need torch 2.5 or newer, this is 2.4.1'):
        check_torch('2.4.1+cu124')


@can_compile
def test_a_compiled_backbone_may_leave_weights_without_a_gradient():
    class Branches(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)

        def forward(self, x):
            self.unused(x)
            return self.used(x)

    model = Branches()
    own_gradients(model)
    torch.compile(model, backend='aot_eager')(torch.ones(1, 2)).sum().backward()
    assert model.unused.weight.grad is None
    assert torch.equal(model.used.weight.grad, torch.ones(2, 2))


@can_compile
@pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has a GPU')
def test_cuda_graphs_need_a_gpu():
    with pytest.raises(ValueError, match='cuda_graphs=True needs a CUDA device'):
        classifier(cuda_graphs=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='CUDA graphs need a GPU')
@pytest.mark.parametrize('wrapper', WRAPPERS, ids=lambda wrapper: wrapper['type'])
def test_cuda_graphs_train_to_the_same_weights(wrapper):
    def on_gpu(batches):
        return ({name: value.cuda() for name, value in batch.items()} for batch in batches)
    results = []
    for options in (dict(), dict(cuda_graphs=True)):
        model = classifier(**options).cuda()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        built = OPTIM_WRAPPERS.build(dict(wrapper, optimizer=optimizer))
        built.initialize_count_status(model, 0, 4)
        torch.manual_seed(2)
        for batch in on_gpu(batches((6, 6, 6, 6, 5))):     # the first two are not yet replayed
            model.train_step(batch, built)
        results.append(model.state_dict())
    for name, value in results[0].items():
        assert_close(results[1][name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('wrapper', WRAPPERS, ids=lambda wrapper: wrapper['type'])
def test_gradients_that_leave_as_copies_are_the_same(wrapper):
    expected, model = trained(classifier(), wrapper), classifier()
    own_gradients(model.backbone)
    found = trained(model, wrapper)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_gradient_that_leaves_as_a_copy_lies_in_memory_of_its_own():
    class Handed(torch.autograd.Function):
        @staticmethod
        def forward(ctx, weight):
            return weight.sum()

        @staticmethod
        def backward(ctx, grad):
            return buffer

    buffer, layer = torch.ones(1, 2), torch.nn.Linear(2, 1, bias=False)
    for own in (False, True):
        if own:
            own_gradients(layer)
        layer.weight.grad = None
        Handed.apply(layer.weight).backward()
        found, = torch.autograd.grad(Handed.apply(layer.weight), [layer.weight])
        assert (found.data_ptr() != buffer.data_ptr()) is own
        assert torch.equal(layer.weight.grad, buffer) and torch.equal(found, buffer)


@can_compile
def test_a_copy_of_a_captured_model_runs_without_it():
    model = classifier(compile='aot_eager').eval()
    twin = copy.deepcopy(model)
    images = torch.randn(2, 3, 8, 8)
    assert_close(twin(images), model(images))
