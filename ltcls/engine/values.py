"""What arguments a component takes, and whether a config's values are of their types."""

import collections.abc
import inspect
import types
import typing
from functools import cache
from typing import Any, Callable

import torch
from torch import nn

SEQUENCES = (list, tuple, set, collections.abc.Sequence, collections.abc.Iterable,
             collections.abc.Collection)
# What a config never holds itself; a dict in the place of the last two is built into one.
OBJECTS = (torch.Tensor, nn.Module, torch.optim.Optimizer)
WORDS = {bool: 'True or False', int: 'an integer', float: 'a number', str: 'text',
         type(None): 'None', dict: 'a dict', nn.Module: 'a dict', torch.optim.Optimizer: 'a dict'}


def annotations(function: Callable) -> dict[str, Any]:
    """The annotated types of a function's arguments; those that cannot be resolved are left out."""
    try:
        return typing.get_type_hints(function)
    except Exception:      # names that exist for type checkers only
        raw = getattr(inspect.unwrap(function), '__annotations__', {})
        return {name: hint for name, hint in raw.items() if not isinstance(hint, str)}


def signature_of(function: Callable) -> dict[str, Any]:
    """The arguments of a function with their annotated types, without those the engine gives."""
    hints = annotations(function)
    return {name: hints.get(name, Any) for name in inspect.signature(function).parameters
            if name not in ('self', 'runner', 'dataloader')}


@cache
def arguments_of(component) -> tuple[dict[str, inspect.Parameter], bool]:
    """A component's arguments, their annotations resolved, and whether it takes others as well.

    What a class requires that only its base asks for may be given by the class itself. A function
    that passes its arguments on says in its attribute `parameters`, a function, what they are.
    """
    if hasattr(component, 'parameters') and not inspect.isclass(component):
        return component.parameters(), False
    names: dict[str, inspect.Parameter] = {}
    classes = inspect.getmro(component) if inspect.isclass(component) else [component]
    for owner in classes:
        if inspect.isclass(owner) and '__init__' not in vars(owner):
            continue
        if owner is object:
            return names, False
        function = vars(owner)['__init__'] if inspect.isclass(owner) else owner
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return names, True
        hints = annotations(function)
        given = bool(names) and 'scheduler' not in owner.__module__
        for p in parameters:
            if p.name != 'self' and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
                default = None if given and p.default is p.empty else p.default
                names.setdefault(p.name, p.replace(
                    annotation=hints.get(p.name, Any), default=default))
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            return names, False
        # **kwargs are handed to the next class up, in ltcls, in plugins and in mmengine's
        # schedulers alike; elsewhere nobody knows where they go.
        foreign = owner.__module__.split('.')[0] in ('torch', 'mmengine')
        if not inspect.isclass(owner) or (foreign and 'scheduler' not in owner.__module__):
            return names, True
    return names, True


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value (None, bool, int, float, str, list, tuple, dict) fits an annotation.

    An integer is a number, a list is a tuple, and True is no number. Whatever says nothing about
    plain values, a class of another package for instance, fits all of them.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, part) for part in arguments)
    if origin is typing.Literal:
        return value in arguments
    if hint is None or hint is type(None):
        return value is None
    base = origin or hint
    if base is bool:
        return isinstance(value, bool)
    if base is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if base is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if base is str:
        return isinstance(value, str)
    if base in (dict, collections.abc.Mapping):
        return isinstance(value, dict)
    if base in SEQUENCES:
        return isinstance(value, (list, tuple)) and _items_fit(value, base, arguments)
    if base in OBJECTS:
        return base is not torch.Tensor and isinstance(value, dict)
    return True


def _items_fit(value: list | tuple, base: type, arguments: tuple) -> bool:
    if base is tuple and arguments and Ellipsis not in arguments:
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    item = arguments[0] if arguments else Any
    return all(fits(part, item) for part in value)


def describe(hint: Any) -> str:
    """An annotation in words: 'a number or None'."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        words = dict.fromkeys(describe(part) for part in arguments if part is not torch.Tensor)
        return ' or '.join(words)
    if origin is typing.Literal:
        return ' or '.join(map(repr, arguments))
    base = type(None) if hint is None else origin or hint
    if base is tuple and arguments and Ellipsis not in arguments:
        return f"a list of {len(arguments)}: {', '.join(map(describe, arguments))}"
    if base in SEQUENCES:
        return f'a list, each {describe(arguments[0])}' if arguments else 'a list'
    return WORDS.get(base, getattr(base, '__name__', str(base)))


def check_value(key: str, value: Any, hint: Any) -> None:
    """Raise ValueError unless the value of this config key fits the annotation."""
    if not fits(value, hint):
        raise ValueError(f'Config key {key}={value!r} must be {describe(hint)}.')
