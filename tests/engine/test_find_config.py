from pathlib import Path

import pytest

from ltcls.engine.configs import config_names, config_root, find_config

REPOSITORY = Path(__file__).resolve().parents[2]
DIGITS = REPOSITORY / 'configs' / 'ce' / 'ce_resnet20_digits.py'


def test_a_checkout_reads_its_own_folder():
    assert config_root() == REPOSITORY / 'configs'


def test_a_config_is_found_by_name_and_by_path_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in ('ce_resnet20_digits', 'ce_resnet20_digits.py', 'ce/ce_resnet20_digits.py',
                 'configs/ce/ce_resnet20_digits.py', 'ltcls::ce/ce_resnet20_digits.py', DIGITS):
        assert find_config(text) == DIGITS


def test_a_file_that_exists_wins_over_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('ce_resnet20_digits.py').write_text('a = 1\n')
    assert find_config('ce_resnet20_digits.py') == Path('ce_resnet20_digits.py')
    assert find_config('ce_resnet20_digits') == DIGITS


def test_an_unknown_name_is_an_error_with_the_nearest_names():
    with pytest.raises(FileNotFoundError, match='Did you mean ce_resnet20_digits'):
        find_config('ce_resnet20_digit')
    with pytest.raises(FileNotFoundError, match="'a/b/ce_resnet20_digts.py'.* mean ce_resnet20"):
        find_config('a/b/ce_resnet20_digts.py')


def test_a_base_is_no_config_to_run_and_every_name_is_unique():
    files = [path for path in config_root().glob('*/*.py') if path.parent.name != '_base_']
    assert len(config_names()) == len(files)
    assert 'default_runtime' not in config_names()


def test_a_path_cannot_leave_the_folder_of_configs():
    with pytest.raises(FileNotFoundError):
        find_config('configs/../no_such.py')
    with pytest.raises(FileNotFoundError):
        find_config('ltcls::../setup.py')
