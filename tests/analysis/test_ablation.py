import importlib.util
import json
from argparse import Namespace
from pathlib import Path

import pytest
from finished_run import make_run

from ltcls.engine.prepare import Options, load_config
from ltcls.engine.recipe import stages
from ltcls.evaluation.record import read_record, write_record

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'analysis' / 'ablation.py'


@pytest.fixture(scope='module')
def ablation():
    specification = importlib.util.spec_from_file_location('ablation', TOOL)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_every_ablation_has_its_configs_on_cifar10(ablation):
    assert set(ablation.ABLATIONS) == {'gcl-cloud-size', 'gcl-sampler', 'gcl-retrain',
                                       'cc_sam-micro', 'flattening'}
    for name in ablation.ABLATIONS:
        rows = ablation.specification(name, 'cifar10')['rows']
        assert len({config for config, _, _ in rows}) == len(rows) >= 4
    assert len(ablation.specification('flattening', 'cifar10')['rows']) == 1 + 4 * 3


def test_runs_of_one_ablation_start_from_one_first_stage(ablation):
    rows = ablation.specification('gcl-sampler', 'digits')['rows']
    firsts = {stages(config, Options(work_dir=Path('x') / config))[0][0].stem
              for config, _, _ in rows}
    assert firsts == {'gcl_resnet20_digits'}
    samplers = [load_config(config, Options()).train_dataloader.sampler.type
                for config, _, _ in rows]
    assert len(set(samplers)) == 4


def test_every_row_is_trained_with_every_seed_and_as_asked_for(ablation, monkeypatch):
    trained = []
    monkeypatch.setattr(ablation, 'run', lambda config, options: trained.append((config, options)))
    spec = dict(rows=[('a', 'A', None), ('b', 'B', 1.0)])
    for amp in (False, True):
        ablation.train(spec, Path('w'), [0, 2], Namespace(amp=amp, data_root='d', dry_run=amp))
    assert [(config, options.work_dir, options.seed) for config, options in trained[:4]] == [
        (config, Path('w') / f'seed{seed}' / config, seed) for seed in (0, 2) for config in 'ab']
    for amp, (_, options) in zip([False] * 4 + [True] * 4, trained):
        assert (options.cfg_options == ablation.AMP) == options.dry_run == amp
        assert options.data_root == 'd' and options.resume is True


def test_a_data_set_without_configs_is_refused(ablation):
    with pytest.raises(ValueError, match='there is no gcl-cos-crt_resnet20_digits'):
        ablation.specification('gcl-cloud-size', 'digits')


def test_finished_runs_become_a_table_and_a_picture(ablation, tmp_path):
    spec = ablation.specification('gcl-retrain', 'digits')
    scores = {}
    for seed in (0, 1):
        for config in ('gcl_resnet20_digits', 'gcl-lws_resnet20_digits'):
            method = config.rsplit('_', 2)[0]
            made = make_run(tmp_path / 'made' / f'{seed}{method}', 'gcl', seed=seed)
            record = dict(read_record(made / 'evaluation.json'), name=config, method=method)
            write_record(tmp_path / f'seed{seed}' / config / 'evaluation.json', record)
            scores.setdefault(method, []).append(record['overall']['accuracy'])
    page = ablation.summarise('gcl-retrain-digits', spec, tmp_path, tmp_path, tmp_path).read_text()
    line = next(line for line in page.splitlines() if line.startswith('| learned scales |'))
    assert ', '.join(f'{score:.2f}' for score in scores['gcl-lws']) in line
    assert '![accuracy by group and class](gcl-retrain-digits.png)' in page
    assert (tmp_path / 'gcl-retrain-digits.png').stat().st_size > 10_000
    kept = tmp_path / 'records' / 'gcl-retrain-digits' / 'gcl_resnet20_digits_seed1.json'
    assert json.loads(kept.read_text())['seed'] == 1
    with pytest.raises(FileNotFoundError, match='no finished run'):
        ablation.summarise('gcl-sampler-digits', ablation.specification('gcl-sampler', 'digits'),
                           tmp_path / 'nowhere', tmp_path / 'nothing', tmp_path)
