"""The measured cells of the method pages."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tools' / 'benchmark'))

from method_pages import filled  # noqa: E402

CONFIGS = ('ce_resnet32_cifar10', 'ce_resnet32_cifar10-short', 'ce_resnet20_digits',
           'ce_resnet50_inat', 'ce-swa-crt_resnet32_cifar10', 'gnm_vit_cifar100', 'gnm_vit_inat')


def run(config, accuracy, study='one', seed=0, date='2024-01-01', test='release', **groups):
    record = dict(name=config, seed=seed, date=date, overall=dict(accuracy=accuracy),
                  fingerprints=dict(test=test),
                  groups={name: dict(accuracy=value) for name, value in groups.items()})
    return SimpleNamespace(path=f'docs/results/records/{study}/{config}_seed{seed}.json',
                           record=record)


RUNS = [
    run('ce_resnet32_cifar10', 67.31),
    run('ce_resnet32_cifar10-short', 60, seed=0), run('ce_resnet32_cifar10-short', 62, seed=1),
    run('ce_resnet32_cifar10-short', 70, study='two', date='2025-01-01'),
    run('ce_resnet20_digits', 91.4, study='reproduce'),
    run('ce_resnet50_inat', 61.7, many=72.2, medium=63.0, few=57.2),
    run('ce-swa-crt_resnet32_cifar10', 71.125), run('gnm_vit_cifar100', 90),
    run('gnm_vit_inat', 76.5, many=61.5, few=79.3)]
SHORT = '[61.00 ± 1.41](docs/results/studies/one.md)'

CASES = {
    'columns that end a config': (
        '| accuracy (%) | cifar10 | cifar10-short | digits | resnet50_inat | cifar100 |\n|---|\n'
        '| `ce`, published | 70.70 |  |  |  |  |\n| `ce`, ours |  | 1.00 |  |  | |',
        '| accuracy (%) | cifar10 | cifar10-short | digits | resnet50_inat | cifar100 |\n|---|\n'
        '| `ce`, published | 70.70 |  |  |  |  |\n'
        f'| `ce`, ours | [67.31](docs/results/studies/one.md) | {SHORT} | [91.40](docs/results.md) | '
        '[61.70](docs/results/studies/one.md) | – |'),
    'methods in the row above': (
        '| | in stage 1 | in both |\n|---|---|---|\n| SWA | `ce-swa-crt` | `other` |\n'
        '| ours |  |  |',
        '| | in stage 1 | in both |\n|---|---|---|\n| SWA | `ce-swa-crt` | `other` |\n'
        '| ours | [71.12](docs/results/studies/one.md) |  |'),
    'a column of measured numbers': (
        '| row | `vit_cifar100` | published | ours | time |\n|---|\n| GNM | `gnm` | 90.28 |  | 41 |',
        '| row | `vit_cifar100` | published | ours | time |\n|---|\n'
        '| GNM | `gnm` | 90.28 | [90.00](docs/results/studies/one.md) | 41 |'),
    'published by groups': (
        '| | published | ours |\n|---|\n| `ce_resnet50_inat` | 72.2, 63.0, 57.2, 61.7 |  |',
        '| | published | ours |\n|---|\n| `ce_resnet50_inat` | 72.2, 63.0, 57.2, 61.7 | '
        '[72.20, 63.00, 57.20, 61.70](docs/results/studies/one.md) |'),
    'groups as columns': (
        '| | many | medium | all |\n|---|\n| `gnm_vit_inat`, ours (ViT) |  |  |  |',
        '| | many | medium | all |\n|---|\n| `gnm_vit_inat`, ours (ViT) | [61.50](docs/results/studies/one.md) '
        '| [-](docs/results/studies/one.md) | [76.50](docs/results/studies/one.md) |'),
}


@pytest.mark.parametrize('case', CASES)
def test_measured_cells_are_filled_and_nothing_else(case):
    before, after = CASES[case]
    page = f'# Title\n\n| `ce`, ours |\n\nWords | and `ce`, ours |  |\n\n{before}\n\nMore.\n'
    assert filled(page, RUNS, CONFIGS, 'docs') == page.replace(before, after)
    assert filled(page.replace(before, after), RUNS, CONFIGS, 'docs') == page.replace(
        before, after)


def test_a_number_without_a_record_is_taken_out():
    page = '| | cifar10 |\n|---|---|\n| `ce`, ours | 67.31 |\n'
    assert filled(page, [], CONFIGS, 'docs') == '| | cifar10 |\n|---|---|\n| `ce`, ours |  |\n'


def test_a_copy_of_the_images_is_named_and_gives_way_to_the_original_ones():
    page = '| | cifar10 |\n|---|---|\n| `ce`, ours |  |\n'
    copied = [run('ce_resnet32_cifar10', 67, seed=seed, test='copy') for seed in (0, 1)]
    assert '| [67.00 ± 0.00](docs/results/studies/one.md) ([JPEG](docs/results/studies/cifar10-sensitivity.md)) |' in (
        filled(page, copied, CONFIGS, 'docs', ['copy']))
    original = run('ce_resnet32_cifar10', 70, study='reproduce/cifar10-original')
    assert '| [70.00](docs/results.md) |' in filled(page, [*copied, original], CONFIGS, 'docs',
                                                   ['copy'])
