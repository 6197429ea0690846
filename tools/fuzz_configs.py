"""Faults of configs and of --cfg-options."""

import copy
import functools
import string
from pathlib import Path

from fuzz_cases import BASE, Case, Fault, config_text, write_config
from hypothesis import assume
from hypothesis import strategies as st

BASE_CONFIG = f'''
_base_ = '{BASE}'
data_preprocessor = dict(mixing=dict(type='Mixup', alpha=1.0))
model = dict(
    backbone=dict(depth=8), precision='float32', frozen_bn='eval',
    head=dict(type='CosineHead', scale=30),
    loss=dict(type='GCLLoss', cloud_size=0.5, margin=0.1))
train_dataloader = dict(
    num_workers=0, drop_last=False,
    sampler=dict(type='CBENSampler', beta=(0.9999, 0.99991)),
    dataset=dict(profile='exponential', selection_seed=0, held_out=0))
optim_wrapper = dict(type='GNM', rho=0.05, accumulative_counts=1, clip_grad=dict(max_norm=1.0))
param_scheduler = [dict(type='LinearLR', start_factor=0.2, end=5)]
custom_hooks = [dict(type='DeferredReweightHook', begin=1, beta=0.999)]
'''
# Numbers that count something.
INTEGERS = ('max_epochs', 'val_interval', 'batch_size', 'num_workers', 'depth', 'num_classes',
            'interval', 'max_keep_ckpts', 'accumulative_counts', 'seed', 'padding',
            'selection_seed', 'held_out', 'base_batch_size')
# Numbers and words of the right type that make no sense, and what the error must name.
IMPOSSIBLE = {
    'train_dataloader.batch_size': (0, -4), 'train_dataloader.num_workers': (-1,),
    'train_cfg.max_epochs': (-1, 2.5), 'train_cfg.val_interval': (0, -1),
    'optim_wrapper.optimizer.lr': (-0.1, float('nan'), float('inf')),
    'optim_wrapper.optimizer.momentum': (-0.9,), 'optim_wrapper.optimizer.weight_decay': (-1.0,),
    'optim_wrapper.rho': (-0.05,), 'optim_wrapper.accumulative_counts': (0, -2),
    'optim_wrapper.type': ('OptimWrapperDict', ''), 'model.frozen': (['neck'], ['']),
    'model.precision': ('float8', ''), 'model.frozen_bn': ('train',),
    'model.backbone.depth': (9, 0),
    'model.head.scale': (0, -30), 'model.loss.cloud_size': (-1.0,),
    'data_preprocessor.num_classes': (0, 1, 9, 11, -10),
    'data_preprocessor.mixing.alpha': (0, -1.0),
    'data_preprocessor.mean': ([], [0.3, 0.3]), 'data_preprocessor.std': ([], [0.0], [1, 1]),
    'train_dataloader.dataset.imbalance': (0.01, 0, -5),
    'train_dataloader.dataset.split': ('trian',),
    'train_dataloader.dataset.profile': ('exponental',),
    'train_dataloader.dataset.held_out': (-1, 10 ** 6),
    'train_dataloader.sampler.beta': ((2.0, 3.0), (0.9,)), 'custom_hooks': (
        [dict(type='DeferredReweightHook', begin=-1)],
        [dict(type='DeferredReweightHook', beta=2.0)],
        [dict(type='SWAHook', begin=-3)], [dict(type='SWAHook')]),
    'param_scheduler': ([dict(type='CosineAnnealingLR', T_max=0)], [dict(type='MultiStepLR')],
                        [dict(type='LinearLR', begin=5, end=2)],
                        [dict(type='LinearLR', start_factor=2.0)]),
    'randomness.seed': (-1, 2 ** 40), 'default_scope': ('mmpretrain', 'ltcl'),
    'test_evaluator.topk': (0,), 'test_evaluator.bins': (0, -1),
    'default_hooks.logger.interval': (0,),
    'init_from': (dict(config='no_such_config', parts=['head']), dict(config=BASE),
                  dict(config='ce_resnet20_digits', parts=['nack']), 'ce_resnet20_digits'),
    'custom_imports': (dict(imports=['no_such_module_of_mine']),), 'work_dir': (3,),
}
TEXTS = {
    'empty': b'', 'NUL bytes': b'model = dict(\x00)\n', 'not UTF-8': b"name = '\xff\xfe\xfa'\n",
    'a missing base': b"_base_ = 'no_such_base.py'\n", 'a base of a missing package':
    b"_base_ = 'no_such_package::x.py'\n", 'a base that is a number': b'_base_ = 3\n',
    'a base in a circle': b"_base_ = './faulty_small_digits.py'\n",
    'division by zero': b'depth = 1 / 0\n', 'an error of its own': b"raise KeyError('x')\n",
    'a missing import': b'import no_such_module_of_mine\n',
    'an unclosed bracket': b'model = dict(\n',
    'an indented line': b'a = 1\n  b = 2\n', 'JSON': b'{"model": {"type": "Classifier"}}',
    'a list': b'[1, 2, 3]\n', 'a picture': b'\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR',
    'an unknown variable': b'model = dict(depth={{_base_.depth}})\n', 'deep nesting':
    b'a = ' + b'[' * 300 + b']' * 300 + b'\n', 'a function': b'model = lambda x: x\n',
    'a set': b"model = {1, 2}\n", 'bytes': b"work_dir = b'x'\n"}


@functools.cache
def base() -> dict:
    import tempfile

    from mmengine.config import Config
    with tempfile.TemporaryDirectory() as folder:
        path = write_config(Path(folder), BASE_CONFIG)
        return Config.fromfile(str(path))._cfg_dict.to_dict()


def places(node, path: tuple = ()):
    """Paths of everything inside a config."""
    items = node.items() if isinstance(node, dict) else (
        enumerate(node) if isinstance(node, (list, tuple)) else ())
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def at(content, path):
    for key in path:
        content = content[key]
    return content


def dotted(path) -> str:
    return '.'.join(str(key) for key in path)


def replaced(path, value) -> dict:
    content = copy.deepcopy(base())
    for index in range(len(path)):        # a tuple cannot be changed in one place
        if isinstance(at(content, path[:index]), tuple):
            at(content, path[:index - 1])[path[index - 1]] = list(at(content, path[:index]))
    at(content, path[:-1])[path[-1]] = value
    return content


def rehearse(folder, content: dict, culprits, suggestion='') -> Case:
    path = write_config(folder, config_text(content))
    return Case(['train', path, '--dry-run', '--work-dir', '{run}'], culprits, suggestion)


def wrong_values(key, value) -> tuple:
    """Values that cannot stand where this one stands."""
    if isinstance(value, bool):
        return 'abc', [1], 3
    if isinstance(value, int):
        return ('abc', [1], {'a': 1}, *([2.5] if key in INTEGERS else []))
    if isinstance(value, float):
        return 'abc', [1], {'a': 1}
    if isinstance(value, str):
        return 3, [1], {'a': 1}
    if isinstance(value, (list, tuple)):
        return 'abc', 3, {'a': 1}
    return 'abc', 3, [1]


@st.composite
def wrong_types(draw):
    path = draw(st.sampled_from([p for p in places(base()) if at(base(), p) is not None]))
    value = draw(st.sampled_from(wrong_values(path[-1], at(base(), path))))
    names = [str(key) for key in path if isinstance(key, str)]
    return Fault(f'{dotted(path)}={value!r}', lambda folder: rehearse(
        folder, replaced(path, value), (names[-1],)))


@st.composite
def slips(draw, word: str) -> str:
    """The word with one slip of the pen."""
    place = draw(st.integers(0, len(word) - 1))
    letter = draw(st.sampled_from(string.ascii_lowercase))
    changed = draw(st.sampled_from([
        word[:place] + word[place + 1:], word[:place] + letter + word[place + 1:],
        word[:place] + letter + word[place:],
        word[:place] + word[place + 1:place + 2] + word[place] + word[place + 2:]]))
    assume(changed and changed != word and changed.isidentifier())
    return changed


@st.composite
def misspelt_keys(draw):
    paths = [p for p in places(base()) if isinstance(p[-1], str)]
    path = draw(st.sampled_from(paths))
    name = draw(slips(path[-1]))
    assume(name not in at(base(), path[:-1]))

    def write(folder):
        content = copy.deepcopy(base())
        holder = at(content, path[:-1])
        items = [(name if key == path[-1] else key, value) for key, value in holder.items()]
        holder.clear()
        holder.update(items)
        return rehearse(folder, content, (name, path[-1]), path[-1])
    return Fault(f'{dotted(path)} as {name}', write)


@st.composite
def misspelt_names(draw):
    from ltcls import registry
    path = draw(st.sampled_from([p for p in places(base()) if p[-1] == 'type']))
    right = at(base(), path)
    name = draw(slips(right.rpartition('.')[2]))
    assume(all(name not in table.names() for table in registry.REGISTRIES))
    assume(registry.mmengine_registry.OPTIMIZERS.get(name) is None)
    return Fault(f'{dotted(path)}={name!r}', lambda folder: rehearse(
        folder, replaced(path, name), (name,), right.rpartition('.')[2]))


@st.composite
def impossible(draw):
    key = draw(st.sampled_from(sorted(IMPOSSIBLE)))
    value = draw(st.sampled_from(IMPOSSIBLE[key]))
    path = key.split('.')
    culprits = [path[-1], path[-2] if len(path) > 1 else path[-1]]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        culprits.append(value[0]['type'])
    # As torch and mmengine call them.
    culprits += {'lr': ['learning rate'],
                 'param_scheduler': ['multiplicative factor']}.get(path[-1], [])
    for word in ('no_such_config', 'no_such_module_of_mine', 'OptimWrapperDict'):
        culprits += [word] if word in str(value) else []

    def write(folder):
        text = repr(value)
        if text in ('nan', 'inf'):
            text = f"float('{text}')"
        text = config_text(replaced(path, '@')).replace("'@'", text)
        epochs = [] if key == 'train_cfg.max_epochs' else ['train_cfg.max_epochs=1']
        return Case(['train', write_config(folder, text), '--work-dir', '{run}',
                     *(['--cfg-options', *epochs] if epochs else [])], tuple(culprits))
    return Fault(f'{key}={value!r}', write)


@st.composite
def options(draw):
    """The same through --cfg-options."""
    path = draw(st.sampled_from([p for p in places(base()) if all(isinstance(k, str) for k in p)
                                 and at(base(), p) is not None and len(p) > 1]))
    kind = draw(st.sampled_from(['value', 'key', 'form']))
    value = draw(st.sampled_from(wrong_values(path[-1], at(base(), path))))
    name = draw(slips(path[-1]))
    assume(name not in at(base(), path[:-1]))
    word = {'value': f'{dotted(path)}={value!r}', 'form': dotted(path),
            'key': f'{dotted((*path[:-1], name))}={at(base(), path)!r}'}[kind]

    def write(folder):
        path_ = write_config(folder, config_text(base()))
        return Case(['train', path_, '--dry-run', '--work-dir', '{run}', '--cfg-options', word],
                    (path[-1], name))
    return Fault(f'--cfg-options {word}', write)


@st.composite
def broken_texts(draw):
    if draw(st.booleans()):
        name = draw(st.sampled_from(sorted(TEXTS)))
        content = TEXTS[name]
    else:
        whole = config_text(base()).encode()
        share = draw(st.integers(1, 75))
        name, content = f'cut to {share} percent', whole[:len(whole) * share // 100]

    def write(folder):
        path = write_config(folder, '')
        path.write_bytes(content)
        return Case(['train', path, '--dry-run', '--work-dir', '{run}'],
                    ('faulty_small_digits', 'no_such', 'work_dir', 'model', 'The config has no'))
    return Fault(f'a file, {name}', write)


KINDS = {
    'config: a value of the wrong type': (wrong_types(), 8),
    'config: a misspelt key': (misspelt_keys(), 6),
    'config: a misspelt name': (misspelt_names(), 4),
    'config: an impossible value': (impossible(), 4), 'config: the file': (broken_texts(), 2),
    'option of the command line': (options(), 4)}
