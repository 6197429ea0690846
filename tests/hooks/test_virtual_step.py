"""The virtual step: whose rate it takes, and what it has in common with the step of SGD."""

import pytest
import torch
from meta_toys import BATCH, CLASS_WEIGHTS, DEV, linear, rows
from torch import nn
from torch.testing import assert_close

from ltcls.hooks.meta_gradient import MetaGradient, VirtualStep, check_virtual_optimizer


def sgd(model, lr=0.1, **options):
    return torch.optim.SGD(model.parameters(), lr=lr, **options)


def test_each_parameter_group_has_its_own_rate():
    model, batch, dev = linear(), BATCH, DEV
    matrix, bias = model.parameters()
    optimizer = torch.optim.SGD([dict(params=[matrix], lr=0.1), dict(params=[bias], lr=0.0)])
    found = MetaGradient(model, batch, dev, optimizer).gradient(CLASS_WEIGHTS)
    bias.requires_grad_(False)
    expected = MetaGradient(model, batch, dev, sgd(model)).gradient(CLASS_WEIGHTS)
    assert_close(found, expected)


def test_a_fixed_virtual_rate_replaces_the_optimizer_s():
    model = linear()
    found = [MetaGradient(model, BATCH, DEV, sgd(model, lr=lr), VirtualStep(lr=0.1))
             .gradient(CLASS_WEIGHTS) for lr in (0.1, 1e-5)]
    assert torch.equal(*found)


@pytest.mark.parametrize('begun', [False, True])
def test_with_dampening_the_virtual_step_is_still_that_of_sgd(begun):
    options = dict(momentum=0.9, dampening=0.4, weight_decay=0.01)
    virtual, real = (nn.ParameterList([rows(1.0, 2.0)]) for _ in range(2))
    optimizer, descending = sgd(virtual, **options), sgd(real, **options)
    if begun:
        for each, [weight] in ((optimizer, virtual), (descending, real)):
            each.state[weight]['momentum_buffer'] = torch.full_like(weight, 0.5)
    grad = real[0].grad = rows(0.3, -0.2)
    step = VirtualStep(rule='optimizer')
    (moved,), (rate,) = step.take(optimizer, list(virtual), [grad])
    (farther,), _ = step.take(optimizer, list(virtual), [grad + 1])
    descending.step()
    assert_close(moved, real[0].detach())
    assert_close(moved - farther, torch.full_like(moved, rate))


def test_the_virtual_step_of_sgd_needs_sgd():
    model = linear()
    check_virtual_optimizer(sgd(model))
    with pytest.raises(ValueError, match="Adam: use virtual_step='plain'"):
        check_virtual_optimizer(torch.optim.Adam(model.parameters()))
