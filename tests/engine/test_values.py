"""Which values fit which annotation."""

from typing import Any, Callable, List, Literal, Optional, Sequence, Tuple, Union

import pytest
import torch

from ltcls.engine.values import annotations, check_value, describe, fits

FITS = [
    (True, bool), (3, int), (3, float), (2.5, float), ('a', str), (None, None),
    (None, Optional[int]), (3, int | None), ([1, 2], Sequence[int]), ((0.9, 0.99), list),
    ([0.9, 0.99], Tuple[float, float]), ([], Sequence[str]), ({}, dict), ({'a': 1}, dict | None),
    ('mean', Literal['mean', 'sum']), (0.1, Union[float, torch.Tensor]), ('a', Any),
    ('bfloat16', torch.dtype), (3, Callable), ([[0, 0.1]], float | Sequence[Sequence[float]]),
    (['a', 1], List), ([1, 2, 3], Tuple[int, ...]), ('x', torch.device),
    (dict(type='SGD'), torch.optim.Optimizer), (dict(type='A'), torch.nn.Module | None),
]
FAILS = [
    (1, bool), ('yes', bool), (True, int), (2.0, int), ('3', int), ('0.1', float), (True, float),
    (None, float), (3, str), ([1, 'a'], Sequence[int]), ('ab', Sequence[str]), (3, list),
    ([0.9], Tuple[float, float]), ([], dict), ('max', Literal['mean', 'sum']),
    ('0.1', Union[float, torch.Tensor]), ([0.1], float | None), ({}, Optional[List[int]]),
    ('abc', torch.nn.Module | dict), (3, torch.optim.Optimizer), ({}, torch.Tensor),
]


@pytest.mark.parametrize(('value', 'hint'), FITS, ids=str)
def test_values_that_fit(value, hint):
    assert fits(value, hint)


@pytest.mark.parametrize(('value', 'hint'), FAILS, ids=str)
def test_values_that_do_not(value, hint):
    assert not fits(value, hint)


@pytest.mark.parametrize(('hint', 'words'), [
    (float, 'a number'), (Optional[int], 'an integer or None'),
    (Union[float, torch.Tensor], 'a number'), (Sequence[str], 'a list, each text'),
    (Tuple[float, float], 'a list of 2: a number, a number'), (bool, 'True or False'),
    (Literal['a', 'b'], "'a' or 'b'"), (dict | None, 'a dict or None'),
    (torch.nn.Module | dict, 'a dict'), (list, 'a list')])
def test_an_annotation_is_described_in_words(hint, words):
    assert describe(hint) == words


def test_the_error_names_key_value_and_type():
    with pytest.raises(ValueError) as caught:
        check_value('model.head.scale', 'abc', float)
    assert str(caught.value) == "Config key model.head.scale='abc' must be a number."


def test_annotations_that_cannot_be_resolved_are_left_out():
    def function(a: int, b: 'Nowhere', c=3):      # noqa: F821
        pass
    assert annotations(function) == dict(a=int)
    assert annotations(len) == {}
