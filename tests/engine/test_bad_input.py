"""Broken input, drawn at random with a fixed seed, and every fault that was once answered badly."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools'))

import fuzz  # noqa: E402
import fuzz_images  # noqa: E402
from fuzz_cases import Case, Fault  # noqa: E402

from ltcls.datasets import FolderLT  # noqa: E402
from ltcls.datasets.base import DataError  # noqa: E402


@pytest.fixture
def folder():
    with fuzz.sandbox() as path:
        yield path


# -- what counts as an answer ---------------------------------------------------------------


def outcome_of(folder, monkeypatch, status=2, err='', out='', raises=None, culprits=('lr',),
               **more):
    """What the harness says of a command that prints this and ends so."""
    def command(arguments):
        print(out)
        print(err, file=sys.stderr)
        if raises is not None:
            raise raises
        return status
    monkeypatch.setattr(fuzz, 'ltcls', command)
    return fuzz.run(Case(['train'], culprits, **more), folder)[0]


def test_only_one_line_that_names_the_culprit_is_an_answer(folder, monkeypatch):
    def outcome(**given):
        return outcome_of(folder, monkeypatch, **given)
    assert outcome(err='error: lr is wrong') == 'refused'
    assert outcome(err='error: something is wrong') == 'nameless'
    assert outcome(err='error: lr is wrong', suggestion='learning') == 'no hint'
    assert outcome(err='error: lr\nerror: lr') == 'unclear'
    assert outcome(err='Traceback (most recent call last)\nerror: lr') == 'unclear'
    assert outcome(status=1, err='error: lr') == 'unclear'
    assert outcome(status=0) == 'silent'
    assert outcome(status=0, out='went on without', words=('went on',)) == 'read'
    assert outcome(raises=AttributeError('x')) == 'escapes'
    assert outcome(reads=lambda: None) == 'read' and outcome(reads=lambda: 'odd') == 'wrong'


def test_a_file_outside_the_run_is_noticed(folder, monkeypatch):
    def writes(arguments):
        (folder / 'run').mkdir()
        (folder / 'run' / 'inside').write_text('')
        Path(where).write_text('')
        print('error: lr', file=sys.stderr)
        return 2
    monkeypatch.setattr(fuzz, 'ltcls', writes)
    where = folder / 'run' / 'also-inside'
    assert fuzz.run(Case(['train'], ('lr',)), folder)[0] == 'refused'
    where = os.path.join(os.environ['TMPDIR'], 'outside')
    (folder / 'run' / 'inside').unlink()
    (folder / 'run' / 'also-inside').unlink()
    (folder / 'run').rmdir()
    assert fuzz.run(Case(['train'], ('lr',)), folder)[0] == 'writes'


# -- a small part of the campaign -----------------------------------------------------------


@pytest.mark.parametrize('kind', fuzz.KINDS)
def test_faults_drawn_with_a_fixed_seed_are_answered(kind, folder):
    results = fuzz.fuzz(kind, count=2, seed=7, folder=folder)
    assert len(results) == 2
    failed = [result for result in results if result['outcome'] not in fuzz.GOOD]
    assert not failed


# -- what was once answered badly -----------------------------------------------------------


@pytest.fixture
def images(tmp_path) -> Path:
    return fuzz_images.class_folders(tmp_path / 'images')


@pytest.mark.parametrize('inside', ['', 'deeper'])
def test_a_link_to_a_folder_above_is_named_once(images, inside):
    (images / 'pear' / inside).mkdir(exist_ok=True)
    (images / 'pear' / inside / 'loop').symlink_to(images / 'pear')
    with pytest.raises(DataError, match='loop is a link to a folder that holds it'):
        FolderLT(root=str(images))


@pytest.mark.parametrize('suffix', ['gif', 'png', 'webp', 'tif'])
@pytest.mark.parametrize('verify', ['header', 'full'])
def test_an_animation_is_not_its_first_picture(images, suffix, verify):
    frames = [fuzz_images.picture(name) for name in fuzz_images.COLOURS]
    frames[0].save(images / 'pear' / f'odd.{suffix}', save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=rf'pear/odd.{suffix} \(3 frames or pages'):
        FolderLT(root=str(images), verify=verify)


def test_a_nul_byte_in_a_list_is_found_with_its_line(images):
    path = images / 'list.csv'
    path.write_text('path,label,split\napple/0.png,apple,train\npear/0\0.png,pear,train\n')
    with pytest.raises(DataError, match='list.csv'):
        FolderLT(csv=str(path))


def test_a_fault_is_known_by_its_name():
    fault = Fault('lr=-1', lambda folder: Case(['train'], ('lr',)))
    assert fault(Path('x')).culprits == ('lr',) and fault.what == 'lr=-1'
