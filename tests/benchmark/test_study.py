"""The pages of docs/results/studies hold what the records say, and nothing else."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tools' / 'benchmark'))

import study  # noqa: E402

from ltcls.engine.configs import config_names  # noqa: E402

PAGES = sorted(name for name in study.STUDIES if (study.PAGES / f'{name}.md').is_file())


@pytest.mark.parametrize('name', PAGES)
def test_a_page_is_the_one_its_records_make(name):
    assert (study.PAGES / f'{name}.md').read_text() == study.page(name)


@pytest.mark.parametrize('name', sorted(study.STUDIES))
def test_the_configs_of_a_study_exist(name):
    assert {config for config, _, _ in study.STUDIES[name]['rows']} <= set(config_names())


def test_a_row_without_records_stays_empty(tmp_path):
    lines = study.page('cifar10-200e', tmp_path).splitlines()
    row = next(line for line in lines if line.startswith('| CE |'))
    assert row == '| CE | `ce_resnet32_cifar10` |  |  | 70.70 |  |  |  |  |  |  |  |'


def test_the_size_of_learned_weights_stands_below_the_table(monkeypatch, tmp_path):
    monkeypatch.setattr(study, 'RESULTS', tmp_path)
    assert study.learned_part('cifar10-meta') == []
    folder = tmp_path / 'records' / 'cifar10-meta'
    folder.mkdir(parents=True)
    lines = [dict(epoch=25, iteration=1, eps=eps, class_weight=0.5, negative=0.01)
             for eps in (0.004, 0.002, 0.001)]
    name = 'meta_reweight_resnet32_cifar10-short_seed1.weights.jsonl'
    (folder / name).write_text(''.join(json.dumps(line) + '\n' for line in lines))
    # L2RW has no eps.
    (folder / 'l2rw_resnet32_cifar10-short_seed0.weights.jsonl').write_text('{"weight": 1.0}\n')
    rows = [line for line in study.learned_part('cifar10-meta') if ', seed' in line]
    assert rows == ['| Meta-reweighting, CE, seed 1 | 8.0e-03 | 4.0e-03 | 2.0e-03 | 1.00 |']


def test_a_study_without_numbers_beside_it_has_no_column_for_them(tmp_path):
    lines = study.page('cifar10-sensitivity', tmp_path).splitlines()
    head = next(line for line in lines if line.startswith('| method |'))
    row = next(line for line in lines if line.startswith('| CE |'))
    assert '| each seed | many |' in head and row.count('|') == head.count('|')


def test_precisions_stand_beside_the_seeds_where_they_differ():
    first, second = (dict(overall=dict(accuracy=a), precision='bfloat16') for a in (71.38, 70.0))
    assert study.each_seed([first, second]) == '71.38, 70.00'
    second['precision'] = 'float32'
    assert study.each_seed([first, second]) == '71.38 (bfloat16), 70.00 (float32)'
    assert study.each_seed([]) == ''


def test_run_trains_each_row_with_each_seed(monkeypatch):
    trained = []

    def train(config, options):
        trained.append((config, options.work_dir, options.seed, options.resume, options.command))

    monkeypatch.setattr(study.recipe, 'run', train)
    rows = [('ce_resnet20_digits', 'CE', None), ('gcl_resnet20_digits', 'GCL', None)]
    monkeypatch.setitem(study.STUDIES, 'digits', dict(study.STUDIES['digits'], rows=rows))
    folders = study.run('digits', [0, 2], 'the command')
    assert folders == [study.WORK / 'digits' / 'seed0', study.WORK / 'digits' / 'seed2']
    assert trained == [(config, folder / config, seed, True, 'the command')
                       for seed, folder in zip([0, 2], folders) for config, _, _ in rows]


def test_records_are_collected_with_the_logs_of_their_weights(tmp_path):
    config = 'meta_reweight_resnet32_cifar10-short'
    committed = study.RESULTS / 'records' / 'cifar10-meta' / f'{config}_seed0.json'
    run = tmp_path / 'seed0' / config
    run.mkdir(parents=True)
    (run / 'evaluation.json').write_text(committed.read_text())
    (run / 'weights.jsonl').write_text('a line\n')
    study.collect('cifar10-meta', [tmp_path / 'seed0'], tmp_path)
    kept = tmp_path / 'records' / 'cifar10-meta'
    assert (kept / f'{config}_seed0.json').read_text() == committed.read_text()
    assert (kept / f'{config}_seed0.weights.jsonl').read_text() == 'a line\n'


def test_runs_that_are_not_there_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, 'argv', ['study.py', 'cifar10-short', '--collect', str(tmp_path / 'no')])
    with pytest.raises(SystemExit, match='error: there is no folder .*no'):
        study.main()
