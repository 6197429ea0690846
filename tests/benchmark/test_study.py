"""The pages of docs/results hold what the records say, and nothing else."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tools' / 'benchmark'))

import study  # noqa: E402

from ltcls.engine.configs import config_names  # noqa: E402

PAGES = sorted(name for name in study.STUDIES if (study.RESULTS / f'{name}.md').is_file())


@pytest.mark.parametrize('name', PAGES)
def test_a_page_is_the_one_its_records_make(name):
    assert (study.RESULTS / f'{name}.md').read_text() == study.page(name)


@pytest.mark.parametrize('name', sorted(study.STUDIES))
def test_the_configs_of_a_study_exist(name):
    assert {config for config, _, _ in study.STUDIES[name]['rows']} <= set(config_names())


def test_a_row_without_records_stays_empty(monkeypatch, tmp_path):
    monkeypatch.setattr(study, 'RESULTS', tmp_path)
    row = next(line for line in study.page('cifar10-200e').splitlines() if line.startswith('| CE |'))
    assert row == '| CE | `ce_resnet32_cifar10` |  |  | 70.70 |  |  |  |  |  |  |  |'


def test_two_seeds_give_mean_and_sample_deviation():
    assert study.spread([70.0, 72.0]) == '71.00 ± 1.41'
    assert study.spread([70.0, None]) == '70.00'
