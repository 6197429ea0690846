"""Learning rates follow the total batch, and a batch other than the base's is announced."""

import pytest

from ltcls.engine import prepare
from ltcls.engine.check import check_config
from ltcls.engine.prepare import Options, load_config, plain_config, rate_scale
from ltcls.engine.stage import _scaling, build_runner, store_config


def config(**options):
    return load_config('ce_resnet20_digits', Options(cfg_options=options))


def test_at_the_base_batch_nothing_is_scaled_stored_or_said():
    cfg = config()
    assert cfg.auto_scale_lr == dict(base_batch_size=64, enable=True)
    assert rate_scale(cfg) == 1 and _scaling(cfg) == []
    assert 'auto_scale_lr' not in plain_config(cfg)


def test_half_the_batch_has_half_the_rate():
    cfg = config(**{'train_dataloader.batch_size': 32})
    assert rate_scale(cfg) == 0.5
    assert _scaling(cfg) == ['32 images a step instead of 64: learning rates are multiplied with '
                             '0.5']
    assert plain_config(cfg)['auto_scale_lr'] == dict(base_batch_size=64, enable=True)


def test_processes_and_accumulated_batches_count(monkeypatch):
    cfg = config(**{'train_dataloader.batch_size': 32, 'optim_wrapper.accumulative_counts': 4})
    assert rate_scale(cfg) == 2
    monkeypatch.setattr(prepare, 'get_world_size', lambda: 8)
    assert rate_scale(cfg) == 16


@pytest.mark.parametrize('batch, counts, rate', [(64, 1, 0.1), (32, 1, 0.05), (32, 2, 0.1)])
def test_the_optimizer_gets_the_scaled_rate(tmp_path, batch, counts, rate):
    cfg = config(**{'train_dataloader.batch_size': batch,
                    'optim_wrapper.accumulative_counts': counts})
    cfg.work_dir = str(tmp_path)
    runner = build_runner(cfg)
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.scale_lr(wrapper, runner.auto_scale_lr)
    assert wrapper.get_lr()['lr'][0] == pytest.approx(rate)


def test_a_run_that_wants_its_rate_as_written_switches_it_off():
    cfg = config(**{'train_dataloader.batch_size': 32, 'auto_scale_lr.enable': False})
    assert rate_scale(cfg) == 1 and _scaling(cfg) == []


def test_a_base_batch_that_is_none_is_named():
    with pytest.raises(ValueError, match="'auto_scale_lr' must be dict.base_batch_size"):
        config(**{'auto_scale_lr.base_batch_size': 0})


def test_the_config_that_a_run_leaves_in_its_folder_is_that_run_again(tmp_path):
    cfg = config(**{'optim_wrapper.accumulative_counts': 2})
    cfg.work_dir, cfg.load_from, cfg.resume = str(tmp_path), 'epoch_1.pth', True
    store_config(tmp_path, cfg)
    build_runner(cfg)
    again = load_config(tmp_path / 'ce_resnet20_digits.py', Options(work_dir=tmp_path))
    check_config(again)
    assert rate_scale(again) == 2 and plain_config(again) == plain_config(cfg)
