"""What a config and the command line are checked for before anything is built."""

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from ltcls.engine.prepare import Options, check_config, first_difference, load_config, plain_config
from ltcls.engine.stage import active_schedulers

NAME = 'gcl-crt_resnet20_digits'


def load(config=NAME, **cfg_options):
    """The config with options whose double underscores stand for dots."""
    options = {key.replace('__', '.'): value for key, value in cfg_options.items()}
    return load_config(config, Options(cfg_options=options))


def write(folder, text, base='ltcls::ce/ce_resnet20_digits.py', name='mine_resnet20_digits.py'):
    path = folder / name
    path.write_text(f'_base_ = {base!r}\n{text}\n')
    return path


# -- what is completed ----------------------------------------------------------------------


def test_options_of_the_command_line_reach_the_config(tmp_path):
    cfg = load_config(NAME, Options(
        work_dir=tmp_path, seed=7, data_root='/data', skip_bad_images=True,
        cfg_options={'train_cfg.max_epochs': 3, 'model.head.scale': 16}))
    assert cfg.work_dir == str(tmp_path) and cfg.randomness.seed == 7
    assert cfg.train_cfg.max_epochs == 3 and cfg.model.head.scale == 16
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.root == '/data' and loader.dataset.skip_bad_images
        assert loader.collate_fn.type == 'ltcls.collate_batch' and loader.num_workers == 0


def test_seed_zero_of_the_command_line_replaces_the_configs(tmp_path):
    path = write(tmp_path, 'randomness = dict(seed=5)')
    assert load_config(path, Options(seed=0)).randomness.seed == 0


def test_the_folder_of_a_run_is_the_options_then_the_configs_then_the_name(tmp_path):
    assert load().work_dir == f'work_dirs/{NAME}'
    path = write(tmp_path, "work_dir = 'elsewhere'")
    assert load(path).work_dir == 'elsewhere'
    assert load_config(path, Options(work_dir=tmp_path)).work_dir == str(tmp_path)


def test_unused_parameters_are_the_wrappers_affair():
    assert load(find_unused_parameters=True).model_wrapper_cfg.find_unused_parameters is True


def test_weights_are_taken_over_by_init_from_alone():
    with pytest.raises(ValueError, match="load_from='a.pth' does not say what is taken over: use "
                                         'init_from=dict'):
        load('ce_resnet20_digits', load_from='a.pth')


def test_a_stage_that_trains_nothing_keeps_its_zero_epochs():
    assert load('tau-norm_resnet20_digits', train_cfg__max_epochs=3).train_cfg.max_epochs == 0
    assert load('ce_resnet20_digits', train_cfg__max_epochs=3).train_cfg.max_epochs == 3


def test_a_run_without_validation_data_has_no_validation():
    cfg = load('ce_resnet20_digits', val_dataloader=None)
    assert cfg.val_cfg is None and cfg.val_evaluator is None and cfg.test_cfg == {}
    assert load('ce_resnet20_digits').val_cfg == {}


def test_settings_of_workers_go_where_there_are_none(tmp_path):
    text = 'train_dataloader = dict(num_workers={}, persistent_workers=True, prefetch_factor=2)'
    assert 'persistent_workers' not in load(write(tmp_path, text.format(0))).train_dataloader
    assert load(write(tmp_path, text.format(2))).train_dataloader.persistent_workers


@pytest.mark.parametrize('epochs, left', [(0, []), (5, ['LinearLR']),
                                          (6, ['LinearLR', 'CosineAnnealingLR'])])
def test_schedulers_that_would_begin_after_the_end_are_left_out(epochs, left):
    cfg = load('ce_resnet20_digits', train_cfg__max_epochs=epochs)
    assert [s.type for s in active_schedulers(cfg)] == left


def test_schedulers_that_count_iterations_are_kept():
    late = dict(type='LinearLR', begin=500, end=900, by_epoch=False)
    cfg = Config(dict(param_scheduler=[late], train_cfg=dict(max_epochs=200)))
    assert active_schedulers(cfg) == [late]


# -- what is refused ------------------------------------------------------------------------

WRONG = {
    # what is wrong: (config options, what the message must say)
    'a loss': (dict(model__loss__type='GCLoss'),
               r"^model.loss: 'GCLoss' is not in the losses registry. Did you mean GCLLoss"),
    'a model': (dict(model__type='Clasifier'), r"^model: 'Clasifier' .* Did you mean Classifier"),
    'a head': (dict(model__head__type='CosinHead'), r'^model.head: .*CosineHead'),
    'a sampler': (dict(train_dataloader__sampler__type='CBNSampler'),
                  r'^train_dataloader.sampler: .*CBENSampler'),
    'a dataset': (dict(test_dataloader__dataset__type='Digits'),
                  r'^test_dataloader.dataset: .*DigitsLT'),
    'a hook': (dict(default_hooks__logger__type='TrainLogHook'),
               r'^default_hooks.logger: .*TrainingLogHook'),
    'a hook in a list': (dict(custom_hooks=[dict(type='DeferedReweightHook')]),
                         r'^custom_hooks\[0\]: .*DeferredReweightHook'),
    'an optimizer': (dict(optim_wrapper__optimizer__type='SDG'),
                     r'^optim_wrapper.optimizer: .*SGD'),
    'an optim wrapper': (dict(optim_wrapper__type='OptimWraper'),
                         r'^optim_wrapper: .*OptimWrapper'),
    'a scheduler': (dict(param_scheduler=[dict(type='CosineLR')]), r'^param_scheduler\[0\]: '),
    'a metric': (dict(test_evaluator__type='ShotAcuracy'), r'^test_evaluator: .*ShotAccuracy'),
    'an argument of the loss': (
        dict(model__loss__cloudsize=1),
        r"^model.loss: GCLLoss has no argument 'cloudsize'. Did you mean 'cloud_size'\?$"),
    'an argument of the model': (dict(model__frozzen=['head']), r"^model: .*'frozzen'.*'frozen'"),
    'weights by mmengine': (dict(model__init_cfg=dict(type='Pretrained', checkpoint='a.pth')),
                            r"^model: .*'init_cfg'"),
    'an argument of the backbone': (dict(model__backbone__dept=32), r"^model.backbone: .*'depth'"),
    'an argument like no other': (dict(model__head__qqq=1),
                                  r"^model.head: CosineHead has no argument 'qqq'. It takes: "),
    'an argument of the optimizer': (dict(optim_wrapper__optimizer__weight_decy=1),
                                     r"'weight_decay'"),
    'an argument of the scheduler': (
        dict(param_scheduler=[dict(type='CosineAnnealingLR', Tmax=3)]), r"'T_max'"),
    'an argument of the data set': (dict(train_dataloader__dataset__imbalanced=10),
                                    r"^train_dataloader.dataset: .*'imbalance'"),
    'an argument of the loader': (dict(train_dataloader__batchsize=10),
                                  r"^train_dataloader: .*'batchsize'. Did you mean 'batch_size'"),
    'an argument of a transform': (dict(data_preprocessor__augment=[dict(
        type='PadCropFlip', pad=1)]), r"^data_preprocessor.augment\[0\]: .*'padding'"),
    'a transform that is not there': (
        dict(test_dataloader__dataset__pipeline=[dict(type='Resise', size=8)]),
        r"^test_dataloader.dataset.pipeline\[0\]: 'Resise' is not .* Did you mean Resize"),
    'an argument of a transform of torchvision': (
        dict(train_dataloader__dataset__pipeline=[dict(type='ToImage'),
                                                  dict(type='Resize', sise=8)]),
        r"^train_dataloader.dataset.pipeline\[1\]: Resize has no .*'sise'. Did you mean 'size'\?$"),
    'an argument too many of a transform of torchvision': (
        dict(train_dataloader__dataset__pipeline=[dict(type='Resize', size=8, max_sise=9)]),
        r"^train_dataloader.dataset.pipeline\[0\]: Resize has no argument 'max_sise'. Did you mean "
        r"'max_size'\?$"),
    'a needed argument of a transform': (
        dict(train_dataloader__dataset__pipeline=[dict(type='RandomCrop', padding=4)]),
        r"^train_dataloader.dataset.pipeline\[0\]: RandomCrop needs the argument 'size'\.$"),
    'a second needed argument of a transform': (
        dict(train_dataloader__dataset__pipeline=[dict(type='Normalize', mean=[0.5])]),
        r"^train_dataloader.dataset.pipeline\[0\]: Normalize needs the argument 'std'\.$"),
    'a value of a transform of torchvision': (
        dict(train_dataloader__dataset__pipeline=[dict(type='Resize', size='8')]),
        r"^Config key train_dataloader.dataset.pipeline\[0\].size='8' must be an integer or "),
    'a type that torch does not have': (
        dict(train_dataloader__dataset__pipeline=[dict(type='ToDtype', dtype='flot32')]),
        r"^Config key train_dataloader.dataset.pipeline\[0\].dtype='flot32' must be 'uint8' or "),
    'an interpolation that is not there': (
        dict(train_dataloader__dataset__pipeline=[dict(type='Resize', size=8, interpolation='x')]),
        r"pipeline\[0\].interpolation='x' must be 'nearest' or "),
    'a transform inside others': (
        dict(train_dataloader__dataset__pipeline=[dict(type='RandomApply', transforms=[
            dict(type='Compose', transforms=[dict(type='Pad', padding=1, fil=3)])])]),
        r"^train_dataloader.dataset.pipeline\[0\].transforms\[0\].transforms\[0\]: Pad .*'fill'\?"),
    'transforms that are no list': (
        dict(train_dataloader__dataset__pipeline=[dict(type='RandomOrder', transforms='Pad')]),
        r"^Config key train_dataloader.dataset.pipeline\[0\].transforms='Pad' must be a list\.$"),
    'a transform of the known images of an open set': (
        dict(test_dataloader__dataset=dict(_delete_=True, type='OpenSet', held_out=[9], known=dict(
            type='DigitsLT', split='test', pipeline=[dict(type='CenterCrop', padding=8)]))),
        r"^test_dataloader.dataset.known.pipeline\[0\]: CenterCrop has no argument 'padding'"),
    'a transform as another backend has it': (
        dict(train_dataloader__dataset=dict(_delete_=True, type='FolderLT', root='x', pipeline=[
            dict(type='Resize', size=8, antialias=True)], backend='opencv')),
        r"^train_dataloader.dataset.pipeline\[0\]: OpenCVResize has no argument 'antialias'"),
    'the second of two needed arguments': (
        dict(data_preprocessor=dict(_delete_=True, type='BatchPreprocessor', num_classes=10,
                                    mean=[0.5])),
        r"^data_preprocessor: BatchPreprocessor needs the argument 'std'\.$"),
    'an argument of training': (dict(train_cfg__max_epoch=3), r"^train_cfg: .*'max_epochs'"),
    'the number of epochs': (dict(train_cfg__max_epochs=2.5), r'^train_cfg.max_epochs=2.5 must'),
    'a top-level key': (dict(optim_warpper__type='OptimWrapper'),
                        r"^The config has no key 'optim_warpper'. Did you mean 'optim_wrapper'\?$"),
    'a part of init_from': (dict(init_from__parts=['backbon']),
                            r"^init_from.parts names 'backbon'. Did you mean 'backbone'\?$"),
    'parts that are no list': (dict(init_from__parts='backbone'),
                               r"^init_from.parts='backbone' must"),
    'a key of init_from': (dict(init_from__part=['head']), r"^Config key 'init_from' must be dict"),
    'a component that is no dict': (dict(model__loss='GCLLoss'),
                                    r"^Config key model.loss='GCLLoss' must be a dict\.$"),
    'a component without a type': (dict(train_dataloader=dict(sampler=dict(_delete_=True))),
                                   r"^Config key 'train_dataloader.sampler' must be .* 'type'"),
    'a value of another type': (dict(model__head__scale='thirty'),
                                r"^Config key model.head.scale='thirty' must be a number"),
    'a loader that is no dict': (dict(train_dataloader=3),
                                 r'^Config key train_dataloader=3 must be a dict'),
    'a batch of nothing': (dict(test_dataloader__batch_size=0),
                           r'^Config key test_dataloader.batch_size=0 must be an integer of at l'),
    'a needed argument': (dict(custom_hooks=[dict(type='SWAHook')]),
                          r"^custom_hooks\[0\]: SWAHook needs the argument 'begin'\.$"),
    'a needed argument of a schedule': (
        dict(param_scheduler=[dict(type='MultiStepLR')]),
        r"^param_scheduler\[0\]: MultiStepLR needs the argument 'milestones'"),
    'a schedule that ends before it begins': (
        dict(param_scheduler=[dict(type='LinearLR', begin=5, end=2)]),
        r'^Config key param_scheduler\[0\].end=2 must be an integer of at least 6'),
    'half a wave of no epoch': (dict(param_scheduler=[dict(type='CosineAnnealingLR', T_max=0)]),
                                r'^Config key param_scheduler\[0\].T_max=0 must'),
    'steps of no batch': (dict(optim_wrapper__accumulative_counts=0),
                          r'^Config key optim_wrapper.accumulative_counts=0 must be an integer'),
    'a schedule that follows validations': (
        dict(param_scheduler=[dict(type='ReduceOnPlateauLR', monitor='accuracy')]),
        r'^param_scheduler\[0\]: ReduceOnPlateauLR follows validations'),
    'an end before the last epoch': (
        dict(custom_hooks=[dict(type='EarlyStoppingHook', monitor='accuracy')]),
        r'^custom_hooks\[0\]: EarlyStoppingHook ends a run before its last'),
    'no checkpoint': (dict(default_hooks__checkpoint=None),
                      r"^Config key 'default_hooks.checkpoint' must be a CheckpointHook"),
    'no last checkpoint': (dict(default_hooks__checkpoint__save_last=False),
                           r'^Config key default_hooks.checkpoint.save_last=False: a run ends'),
    'checkpoints elsewhere': (dict(default_hooks__checkpoint__out_dir='/x'),
                              r"^Config key default_hooks.checkpoint.out_dir='/x': a run ends"),
    'a seed below zero': (dict(randomness__seed=-1), r'^Config key randomness.seed=-1 must lie'),
    'a hook of every run': (dict(default_hooks__long_tail=None),
                            r"^Config key default_hooks.long_tail=None: .* remove 'long_tail'\.$"),
    'a hook of every run that is also checkpoints': (
        dict(default_hooks__plain_checkpoint=None),
        r"^Config key default_hooks.plain_checkpoint=None: .* remove 'plain_checkpoint'\.$"),
    'a default hook': (dict(default_hooks__chekpoint=dict(type='CheckpointHook')),
                       r"^default_hooks has no key 'chekpoint'. Did you mean 'checkpoint'"),
    'another scope': (dict(default_scope='mmpretrain'), r"default_scope='mmpretrain' must be 'lt"),
    'training by iterations': (dict(train_cfg__by_epoch=False), r'^Config key train_cfg.by_epoch'),
    'an option inside a number': (dict(model__head__scale__high=3),
                                  r'^--cfg-options model.head.scale'),
    'infinity': (dict(model__loss__margin=float('inf')),
                 r"^Config key 'model.loss.margin' is inf; write it as a string, 'inf'\.$"),
    'not a number': (dict(optim_wrapper__optimizer__lr=float('nan')), r"lr' is nan"),
    'a value that is not plain': (dict(model__head__scale={1, 2}),
                                  r"^Config key 'model.head.scale' is a set; a config holds None"),
}


@pytest.mark.parametrize('what', WRONG)
def test_what_cannot_work_is_one_line_with_key_and_remedy(what):
    options, message = WRONG[what]
    with pytest.raises(ValueError, match=message) as caught:
        load(**options)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('name, options, message', [
    ('ride', dict(model__head__expert__type='CosinHead'), r"^model.head.expert: .*CosineHead"),
    ('ride', dict(model__head__expert='CosineHead'), r"^.*model.head.expert"),
    ('ride', dict(model__head__expert__scal=30), r"^model.head.expert: .*'scale'"),
    ('ncl', dict(model__backbone__network='CIFARResnet'), r"^model.backbone.network: .*CIFARResNet"),
    ('ncl', dict(model__backbone__network=3), r"^.*model.backbone.network"),
    ('ncl', dict(model__backbone__dept=8), r"^model.backbone.network: .*'depth'")])
def test_what_experts_are_made_of_is_checked_too(name, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        load(f'{name}_resnet20_digits', **options)
    assert '\n' not in str(caught.value)


def test_transforms_of_a_view_are_checked_too():
    views = [dict(type='Views', transforms=[dict(type='RandomCorp', size=8)])]
    with pytest.raises(ValueError, match=r"^train_dataloader.dataset.pipeline\[0\].transforms\[0\]: "
                                         "'RandomCorp' is not .* Did you mean RandomCrop"):
        load('ce_resnet20_digits', train_dataloader__dataset__pipeline=views)


@pytest.mark.parametrize('seed', [-1, 2 ** 32])
def test_a_seed_of_the_command_line_is_checked_as_the_configs_is(seed):
    with pytest.raises(ValueError, match=f'^Config key randomness.seed={seed} must lie between 0'):
        load_config('ce_resnet20_digits', Options(seed=seed))
    assert load_config('ce_resnet20_digits', Options(seed=2 ** 32 - 1)).randomness.seed


def test_a_hook_of_mmengine_may_be_left_out():
    assert load('ce_resnet20_digits', default_hooks__timer=None).default_hooks.timer is None


def test_a_misspelt_key_of_the_file_is_found_and_a_variable_of_the_user_is_not(tmp_path):
    with pytest.raises(ValueError, match="no key 'custom_hook'. Did you mean 'custom_hooks'"):
        load(write(tmp_path, 'custom_hook = []'))
    assert load(write(tmp_path, "num_classes = 10\nmy_note = 'x'")).my_note == 'x'


@pytest.mark.parametrize('key', ['model', 'data_preprocessor', 'train_dataloader', 'train_cfg',
                                 'optim_wrapper', 'test_dataloader', 'test_evaluator'])
def test_a_config_without_a_needed_part_says_where_to_get_it(tmp_path, key):
    cfg = Config({k: v for k, v in load('ce_resnet20_digits').to_dict().items() if k != key})
    with pytest.raises(ValueError, match=f"The config has no '{key}': inherit it"):
        check_config(cfg)
    with pytest.raises(ValueError, match=f"no '{key}'"):
        load_config(write(tmp_path, f'{key} = None'), Options(dry_run=True))


def test_a_file_that_is_no_config_is_named_with_the_reason(tmp_path):
    path = tmp_path / 'broken_resnet20_digits.py'
    path.write_text('model = dict(\n')
    with pytest.raises(ValueError, match='broken_resnet20_digits.py is not a readable config') as e:
        load(path)
    assert '\n' not in str(e.value)
    with pytest.raises(FileNotFoundError, match='Did you mean gcl-crt_resnet20_digits'):
        load('gcl-cr_resnet20_digits')


def test_an_import_that_fails_is_named_with_its_cause(tmp_path, monkeypatch):
    path = write(tmp_path, "custom_imports = dict(imports=['lt_missing_loss'])")
    with pytest.raises(ValueError, match="custom_imports .*No module named 'lt_missing_loss'.*"
                                         'PYTHONPATH') as caught:
        load(path)
    assert '\n' not in str(caught.value)
    (tmp_path / 'lt_missing_loss.py').write_text('from json import no_such_name\n')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="custom_imports .*cannot import name 'no_such_name'"):
        load(path)


def test_arguments_of_mmengines_own_components_are_known_too():
    cfg = load()
    cfg.default_hooks.checkpoint.intervall = 1
    with pytest.raises(ValueError, match=r"^default_hooks.checkpoint: .*Did you mean 'interval'"):
        check_config(cfg)
    cfg = load()
    cfg.optim_wrapper.paramwise_cfg = dict(norm_decay_mult=0.0)
    cfg.optim_wrapper.optimizer.foreach = False
    cfg.default_hooks.checkpoint.priority = 'LOW'
    check_config(cfg)


# -- which experiment it is -----------------------------------------------------------------


def test_where_a_run_is_stored_is_not_part_of_the_experiment(tmp_path):
    a = plain_config(load_config(NAME, Options(work_dir=tmp_path / 'a')))
    b = plain_config(load_config(NAME, Options(work_dir=tmp_path / 'b', resume=True)))
    assert a == b and first_difference(a, b) is None
    assert json.loads(json.dumps(a)) == a


def test_the_first_difference_is_named_by_its_key_with_both_values():
    a, b = plain_config(load()), plain_config(load(model__loss__margin=0.2))
    assert first_difference(a, b) == 'model.loss.margin (0.1 and 0.2)'
    b = plain_config(load(model__loss__cloud='pow'))
    assert first_difference(a, b) == "model.loss.cloud ('absent' and 'pow')"
    assert first_difference([1, 2], [1, 3], 'key') == 'key ([1, 2] and [1, 3])'
    assert first_difference({'a': {'b': 1}}, {'a': {'b': 1}}) is None


def test_transforms_of_torchvision_are_written_with_plain_values():
    load(train_dataloader__dataset__pipeline=[
        dict(type='RandomCrop', size=[8, 8], padding=1), dict(type='AutoAugment', policy='cifar10'),
        dict(type='RandomAffine', degrees=5, interpolation='bilinear', fill=0),
        dict(type='ToDtype', dtype='float32', scale=True),
        dict(type='RandomErasing', value='random', scale=[0.1, 0.2]),
        dict(type='Normalize', mean=[0.5], std=[0.5])])


def test_checking_leaves_the_config_as_it_is():
    cfg = load()
    before = Config(cfg._cfg_dict.to_dict()).to_dict()
    check_config(cfg)
    assert cfg.to_dict() == before


def test_workers_draw_by_the_epoch_and_always_the_same():
    init_default_scope('ltcls')
    cfg = load_config('ce_resnet20_digits', Options(cfg_options={
        'train_dataloader.num_workers': 1,
        'train_dataloader.sampler': dict(type='DefaultSampler', shuffle=False),
        'train_dataloader.dataset.pipeline': [dict(type='RandomCrop', size=8, padding=4)]}))
    loader, drawn = Runner.build_dataloader(cfg.train_dataloader, seed=0), []
    for epoch in (0, 1, 0):
        torch.manual_seed(epoch)
        drawn.append(next(iter(loader))['inputs'])
    assert torch.equal(drawn[0], drawn[2]) and not torch.equal(drawn[0], drawn[1])
