"""Every shipped config: its form, its name, the stages it starts from, and one step of training.

The step is taken by a small network with the same parts; networks for large images are built at
their real size on the meta device.
"""

import ast
import copy
import json
import re
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from mmengine.runner import Runner
from torch import nn

from ltcls.cli import main
from ltcls.engine.configs import config_names, config_root
from ltcls.engine.dry_run import shrink, without_weights
from ltcls.engine.prepare import Options, check_config, load_config, plain_config
from ltcls.engine.recipe import earlier_config
from ltcls.registry import HOOKS, MODELS

NAMES = config_names()
DATASETS = dict(digits='DigitsLT', cifar10='CIFAR10LT', cifar100='CIFAR100LT',
                imagenet='ImageNetLT', places='PlacesLT', inat='INaturalist', inat17='INaturalist',
                tiny50a='FolderLT', tiny50b='FolderLT')
LARGE = ('imagenet', 'places', 'inat', 'inat17')
DEFAULT_IMBALANCE = dict(digits=50, cifar10=100, cifar100=100, tiny50b=100)
DETAILS = {'200e', 'short', 'steep', 'steps', 'finetune'}
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


def backbone_name(backbone) -> str:
    """How the backbone is called in the name of a config."""
    if 'CIFARResNet' in backbone.get('network', backbone.type):
        return f'resnet{backbone.depth}'
    return backbone.name.split('_')[0]


def test_a_name_says_backbone_data_set_and_imbalance(configs):
    for name, cfg in configs.items():
        method, backbone, data = split_name(name)
        assert re.fullmatch(r'[a-z0-9_-]+', method), name
        assert backbone == backbone_name(cfg.model.backbone), name
        data, *details = data.split('-')
        factors = [int(detail[2:]) for detail in details if re.fullmatch(r'if\d+', detail)]
        assert set(details) <= DETAILS | {f'if{factor}' for factor in factors}, name
        dataset = cfg.train_dataloader.dataset
        assert dataset.type == DATASETS[data], name
        assert dataset.get('year') == dict(inat=2018, inat17=2017).get(data), name
        assert dataset.get('imbalance') == (factors or [DEFAULT_IMBALANCE.get(data)])[0], name
        assert factors in ([], [dataset.get('imbalance')]), name


def test_the_learning_rate_belongs_to_the_batch_of_the_config(configs):
    for name, cfg in configs.items():
        scaling = cfg.get('auto_scale_lr')
        assert scaling == dict(base_batch_size=cfg.train_dataloader.batch_size, enable=True), name


def test_a_stage_starts_from_a_config_with_the_same_data_and_backbone(configs):
    by_path = {path.resolve(): name for name, path in NAMES.items()}
    for name, cfg in configs.items():
        seen = [name]
        while cfg.get('init_from') is not None:
            earlier = by_path[earlier_config(NAMES[seen[-1]], cfg).resolve()]
            assert earlier not in seen, f'{name} starts from itself: {seen}'
            later, cfg = cfg, configs[earlier]
            images, theirs = (dict(stage.train_dataloader.dataset, pipeline=None)
                              for stage in (cfg, later))      # augmentation may differ
            assert images == theirs, name
            assert cfg.val_dataloader == later.val_dataloader, name
            trunk = dict(cfg.model.backbone, type=later.model.backbone.type)      # without prompts
            assert all(later.model.backbone[key] == value for key, value in trunk.items()), name
            seen.append(earlier)


def test_a_later_stage_freezes_what_it_takes_over_or_trains_it_on(configs):
    for name, cfg in configs.items():
        if cfg.get('init_from') is not None:
            assert set(cfg.init_from) == {'config', 'parts'}, name
            assert cfg.init_from.parts in (['backbone'], ['backbone', 'head']), name
            # A prompted network freezes what it takes over by itself.
            trains_on = (split_name(name)[0] == 'cb-finetune'
                         or cfg.model.backbone.type == 'PromptedViT')
            assert cfg.model.get('frozen') == (None if trains_on else ['backbone']), name
        else:
            assert not {'backbone', 'head'} & set(cfg.model.get('frozen', ())), name
            assert cfg.train_cfg.max_epochs > 0, name


@pytest.mark.parametrize(('name', 'key', 'value'), [
    ('gcl_resnet32_cifar10', 'model.loss.cloud_size', 0.5),
    ('gcl_resnet32_cifar10', 'model.head.scale', 30),
    ('gcl-crt_resnet32_cifar10', 'model.loss.margin', 0.1),
    ('ldam-drw_resnet32_cifar10', 'model.loss.max_margin', 0.5),
    ('ldam-drw-sam_resnet32_cifar10', 'optim_wrapper.rho', 0.8),
    ('imbsam_resnet32_cifar10', 'optim_wrapper.threshold', 200),
    ('cc_sam_resnet32_cifar10', 'optim_wrapper.radius', 1.0),
    ('cc_sam-code_resnet32_cifar10', 'optim_wrapper.radius', 1e-6),
    ('mislas_resnet32_cifar10', 'model.loss.head', 0.3),
    ('meta_reweight_resnet32_cifar10', 'custom_hooks.0.tau', 0.01),
    ('meta_reweight_resnet32_cifar10', 'custom_hooks.0.beta', 0.9999),
    ('gnm_vit_cifar100', 'model.backbone.num_prompts', 10),
    ('gnm_vit_cifar100', 'optim_wrapper.optimizer.weight_decay', 1e-3)])
def test_published_constants(configs, name, key, value):
    node = configs[name]
    for part in key.split('.'):
        node = node[int(part)] if part.isdigit() else node[part]
    assert node == value


def test_no_training_keeps_workers_that_a_resumed_run_would_not_have(configs):
    assert not [name for name, cfg in configs.items()
                if cfg.train_dataloader.get('persistent_workers')]


def test_no_two_configs_are_the_same_experiment(configs):
    seen = {}
    short = {'gnm_resnet32_cifar10': 'gcl-drw-gnm_resnet32_cifar10'}      # a shorter name
    for name, cfg in configs.items():
        twin = seen.setdefault(json.dumps(plain_config(cfg), sort_keys=True), short.get(name, name))
        assert twin == short.get(name, name), f'{name} and {twin} say the same'


def test_batches_are_as_large_as_in_the_tables(configs):
    for name, cfg in configs.items():
        method, backbone, data = split_name(name)
        if data.startswith('cifar') and backbone == 'resnet32' and 'short' not in data:
            steep = any(step.get('gamma') == 0.01 for step in cfg.param_scheduler)
            of_gcl = method in ('ce', 'ce-mixup', 'ce-mixup-crt') or method.startswith('gcl-crt')
            learned = method.startswith(('meta_', 'l2rw'))
            if steep or of_gcl:
                of_256 = method.startswith(('bbn', 'lade', 'deconfound'))
                expected = 100 if learned else 256 if of_256 else 128 if steep else 64
                assert cfg.train_dataloader.batch_size == expected, name


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


class SmallTrunk(nn.Module):
    """A network with the parts of torchvision's ResNets, in eight channels."""

    def __init__(self, **arguments):
        super().__init__()
        parts = dict(conv1=nn.Conv2d(3, 8, 7, stride=4), bn1=nn.BatchNorm2d(8), relu=nn.ReLU())
        for number, blocks in enumerate((1, 1, 1, 3), start=1):
            parts[f'layer{number}'] = nn.Sequential(*(
                nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8))
                for _ in range(blocks)))
        self.model = nn.Sequential(OrderedDict(parts))
        self.num_features = 8

    def forward(self, images):
        return self.model(images).mean(dim=(2, 3))


@pytest.fixture
def small_trunk():
    MODELS.register_module(module=SmallTrunk)
    yield dict(type='SmallTrunk')
    MODELS._module_dict.pop('SmallTrunk')


def family(cfg: Config) -> str:
    """What two configs share that take the same path: all but sizes, rates and lengths."""
    content = plain_config(cfg)
    content.pop('init_from', None)
    content['data_preprocessor'].pop('num_classes')
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        content[loader]['dataset'].pop('num_classes')
        content[loader]['dataset'].pop('num_images')
    content.update(
        train_cfg=bool(content['train_cfg']['max_epochs']),
        param_scheduler=[sorted(scheduler) for scheduler in content['param_scheduler']])
    content['optim_wrapper']['optimizer'] = sorted(content['optim_wrapper']['optimizer'])
    return json.dumps(content, sort_keys=True)


def shrink_network(backbone: ConfigDict, small_trunk: dict) -> None:
    kind = backbone.get('network', backbone.type)
    if 'CIFARResNet' in kind:
        backbone.depth = 8
    elif kind == 'RIDEResNet':
        backbone.update(name='resnet18', planes=[8, 16])
    elif kind == 'TorchvisionBackbone':
        experts = {key: backbone[key] for key in ('type', 'experts') if key in backbone}
        several = 'network' in backbone
        backbone.clear()
        backbone.update(dict(experts, network='SmallTrunk') if several else small_trunk)


def test_every_config_can_be_rehearsed_on_random_images(configs, small_trunk):
    families = {}
    for name, cfg in configs.items():
        small = copy.deepcopy(cfg)
        shrink(small)
        check_config(small)
        shrink_network(small.model.backbone, small_trunk)
        families.setdefault(family(small), (name, small))
    for name, cfg in families.values():
        one_step(name, cfg)


def test_networks_for_large_images_have_their_published_size(configs):
    # Without their classifier; of the network for Places-LT only the last block trains.
    sizes = {'resnet50': 23_508_032, 'resnext50': 22_979_904, 'resnet152': 58_143_808,
             'resnet32': 463_504}
    of_experts = {'RIDEResNet': 1_444_928 + 3 * 12_541_440,       # shared groups, narrower last ones
                  'IndependentExperts resnet50': 3 * sizes['resnet50'],
                  'IndependentExperts resnet152': 3 * sizes['resnet152']}
    last_block = 2 * 2048 * 512 + 9 * 512 * 512 + 2 * (512 + 512 + 2048)
    seen = {}
    for name, cfg in configs.items():
        _, backbone, data = split_name(name)
        if data.split('-')[0] not in LARGE or cfg.get('init_from') is not None:
            continue
        cfg = without_weights(cfg)
        frozen = cfg.model.get('frozen', ())
        if seen.setdefault(json.dumps([cfg.model.backbone, frozen], sort_keys=True), name) != name:
            continue
        with torch.device('meta'):
            model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
        if backbone in sizes:
            kind = cfg.model.backbone.type
            size = of_experts.get(kind, of_experts.get(f'{kind} {backbone}', sizes[backbone]))
            values = list(model.backbone.parameters())
            assert sum(value.numel() for value in values) == size, name
            assert sum(value.numel() for value in values if value.requires_grad) == (
                last_block if frozen else size), name


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
    for key in cfg.optim_wrapper.get('paramwise_cfg', {}).get('custom_keys', {}):
        assert any(key in parameter for parameter, _ in model.named_parameters()), name
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
    for part in cfg.model.get('frozen', ()):
        assert not any(key.startswith(f'{part}.') for key in trainable), name


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
