"""Every shipped config: its form, its name, the stages it starts from, and one step of training."""

import ast
import copy
import json
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from mmengine.runner import Runner

from ltcls.cli import main
from ltcls.engine.configs import config_names, config_root
from ltcls.engine.dry_run import shrink
from ltcls.engine.prepare import Options, check_config, load_config, plain_config
from ltcls.engine.recipe import earlier_config
from ltcls.registry import HOOKS, MODELS

NAMES = config_names()
DATASETS = dict(digits='DigitsLT', cifar10='CIFAR10LT', cifar100='CIFAR100LT')
DEFAULT_IMBALANCE = dict(digits=50, cifar10=100, cifar100=100)
# What a config may be written with: assignments of literals and of dict(...).
PLAIN = (ast.Module, ast.Assign, ast.Name, ast.Store, ast.Load, ast.Call, ast.keyword, ast.Constant,
         ast.List, ast.Tuple, ast.Dict)
FORBIDDEN = ('_delete_', 'num_classes', 'class_counts', 'cls_num_list')


@pytest.fixture(scope='module')
def configs():
    """Every shipped config, complete and checked; each file is read once, its bases too."""
    read, parsed = Config._file2dict, {}

    def read_once(filename, *args, **kwargs):
        key = str(Path(filename).resolve())
        if key not in parsed:
            parsed[key] = read(filename, *args, **kwargs)
        return copy.deepcopy(parsed[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, '_file2dict', staticmethod(read_once))
        return {name: load_config(path, Options()) for name, path in NAMES.items()}


def split_name(name: str) -> tuple[str, str, str]:
    method, backbone, data = name.rsplit('_', 2)
    return method, backbone, data


def literals(path: Path) -> tuple[list[ast.AST], list]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    words = [node.value for node in nodes if isinstance(node, ast.Constant)]
    words += [node.arg for node in nodes if isinstance(node, ast.keyword)]
    return nodes, words


def test_a_leaf_holds_literals_and_nothing_else():
    for name, path in NAMES.items():
        nodes, _ = literals(path)
        odd = {type(node).__name__ for node in nodes if not isinstance(node, PLAIN)}
        calls = {node.func.id for node in nodes if isinstance(node, ast.Call)}
        loads = {node.id for node in nodes
                 if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        assert not odd and calls <= {'dict'} and loads <= {'dict'}, name


def test_a_leaf_types_no_counts_no_classes_and_no_absolute_path():
    for name, path in NAMES.items():
        _, words = literals(path)
        found = [word for word in words if word in FORBIDDEN
                 or isinstance(word, str) and (word.startswith(('/', '~')) or ':\\' in word)]
        assert not found, f'{name}: {found}'


def test_only_the_bases_of_data_sets_say_where_the_data_is():
    for path in config_root().rglob('*.py'):
        _, words = literals(path)
        if path.parent.name != 'datasets':
            assert not {'root', 'std', 'num_classes'} & set(words), path


def test_a_line_has_at_most_100_columns():
    for path in config_root().rglob('*.py'):
        assert max(map(len, path.read_text().splitlines())) <= 100, path


def test_a_name_says_backbone_data_set_and_imbalance(configs):
    for name, cfg in configs.items():
        method, backbone, data = split_name(name)
        assert re.fullmatch(r'[a-z0-9_-]+', method), name
        assert backbone == f'resnet{cfg.model.backbone.depth}', name
        data, *details = data.split('-')
        factors = [int(detail[2:]) for detail in details if re.fullmatch(r'if\d+', detail)]
        assert set(details) <= {'short', 'steep', *(f'if{factor}' for factor in factors)}, name
        dataset = cfg.train_dataloader.dataset
        assert dataset.type == DATASETS[data], name
        assert dataset.imbalance == (factors or [DEFAULT_IMBALANCE[data]])[0], name
        assert factors in ([], [dataset.imbalance]), name


def test_a_stage_starts_from_a_config_with_the_same_data_and_backbone(configs):
    by_path = {path.resolve(): name for name, path in NAMES.items()}
    for name, cfg in configs.items():
        seen = [name]
        while cfg.get('init_from') is not None:
            earlier = by_path[earlier_config(NAMES[seen[-1]], cfg).resolve()]
            assert earlier not in seen, f'{name} starts from itself: {seen}'
            later, cfg = cfg, configs[earlier]
            assert cfg.train_dataloader.dataset == later.train_dataloader.dataset, name
            assert cfg.val_dataloader == later.val_dataloader, name
            assert cfg.model.backbone == later.model.backbone, name
            seen.append(earlier)


def test_a_later_stage_freezes_what_it_takes_over_or_trains_it_on(configs):
    for name, cfg in configs.items():
        if cfg.get('init_from') is not None:
            assert set(cfg.init_from) == {'config', 'parts'}, name
            assert cfg.init_from.parts in (['backbone'], ['backbone', 'head']), name
            assert cfg.model.frozen == ['backbone'], name
        else:
            assert 'frozen' not in cfg.model and cfg.train_cfg.max_epochs > 0, name


def test_no_two_configs_are_the_same_experiment(configs):
    seen = {}
    for name, cfg in configs.items():
        twin = seen.setdefault(json.dumps(plain_config(cfg), sort_keys=True), name)
        assert twin == name, f'{name} and {twin} say the same'


def test_batches_are_as_large_as_in_the_tables(configs):
    for name, cfg in configs.items():
        method, _, data = split_name(name)
        if data.startswith('cifar') and 'short' not in data:
            steep = any(step.get('gamma') == 0.01 for step in cfg.param_scheduler)
            of_gcl = method in ('ce', 'ce-mixup', 'ce-mixup-crt') or method.startswith('gcl-crt')
            if steep or of_gcl:
                assert cfg.train_dataloader.batch_size == (128 if steep else 64), name


@pytest.mark.parametrize('data, betas', [
    ('cifar10', {200: 0.9999, 100: 0.9999, 50: 0.9999, 20: 0.9999, 10: 0.9999}),
    ('cifar100', {200: 0.9, 100: 0.9, 50: 0.99, 20: 0.99, 10: 0.999})])
def test_class_balanced_weights_have_the_published_beta(configs, data, betas):
    for factor, beta in betas.items():
        for method in ('cb-ce', 'cb-focal'):
            suffix = '' if factor == 100 else f'-if{factor}'
            hook, = configs[f'{method}_resnet32_{data}{suffix}'].custom_hooks
            assert hook == dict(type='DeferredReweightHook', begin=0, beta=beta, mean='plain')


def test_every_method_has_a_page_that_names_its_configs():
    for name, path in NAMES.items():
        page = path.parent / 'README.md'
        assert page.is_file(), f'{path.parent.name} has no README.md'
        method = split_name(name)[0]
        assert re.search(rf'`{method}[`_]', page.read_text()), f'{page} does not name `{method}`'


def test_every_config_can_be_rehearsed_on_random_images(configs):
    families = {}
    for name, cfg in configs.items():
        small = copy.deepcopy(cfg)
        shrink(small)
        check_config(small)
        # Configs that differ in imbalance or in the number of classes take the same path.
        content = plain_config(small)
        content.pop('init_from', None)
        content['data_preprocessor'].pop('num_classes')
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            content[loader]['dataset'].pop('num_classes')
            content[loader]['dataset'].pop('num_images')
        families.setdefault(json.dumps(content, sort_keys=True), (name, small))
    for name, cfg in families.values():
        one_step(name, cfg)


def one_step(name: str, cfg: Config) -> None:
    """Build everything the config names; train one batch, or test one where nothing trains."""
    init_default_scope('ltcls')
    torch.manual_seed(0)
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    if hasattr(loader.sampler, 'set_max_epochs'):
        loader.sampler.set_max_epochs(1)
    model.bind(loader.dataset.metainfo['class_counts'])
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    for scheduler in cfg.param_scheduler:
        PARAM_SCHEDULERS.build(dict(scheduler, optimizer=wrapper))
    for hook in cfg.custom_hooks:
        HOOKS.build(hook)
    batch = next(iter(loader))

    if not cfg.train_cfg.max_epochs:
        with torch.no_grad():
            scores = model.eval().test_step(batch)[0]['scores']
        assert scores.sum(dim=1) == pytest.approx(1, abs=1e-5), name
        return
    before = {key: value.clone() for key, value in model.named_parameters()}
    logs = model.train().train_step(batch, wrapper)
    assert torch.isfinite(logs['loss']).all(), name
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, before[key])}
    trainable = {key for key, value in model.named_parameters() if value.requires_grad}
    assert moved and moved <= trainable, name
    if cfg.model.get('frozen'):
        assert not any(key.startswith('backbone.') for key in trainable), name


@pytest.mark.parametrize('name', [
    'gcl-tau-norm_resnet20_digits', 'mislas_resnet20_digits', 'ncm_resnet20_digits',
    'ldam-drw_resnet20_digits', 'ce-drs_resnet20_digits'])
def test_a_recipe_runs_from_the_command_line_without_its_data(name, capsys, monkeypatch):
    monkeypatch.setenv('LTCLS_DEBUG', '1')      # an error comes with its traceback
    monkeypatch.setattr('ltcls.commands.train.rehearsed', None)      # pictures take longer than the training
    assert main(['train', name, '--dry-run']) == 0
    assert 'every stage trained, tested and saved' in capsys.readouterr().out


def test_two_stages_of_full_size_run_with_their_pictures(capsys, monkeypatch):
    monkeypatch.setenv('LTCLS_DEBUG', '1')
    assert main(['train', 'gcl-crt_resnet32_cifar10', '--dry-run']) == 0
    assert capsys.readouterr().out.count('4 pictures drawn') == 2
