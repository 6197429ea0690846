import copy
import json
import mmap
import os
import platform
from pathlib import Path

import numpy as np
import pytest
import torch
from pytest import approx

from ltcls.evaluation.record import (build_record, contradictions, forget_peak_memory,
                                     peak_memory, read_log, read_record, write_record)
from ltcls.evaluation.scores import measure

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
SCORES = measure(LABELS, torch.tensor([0, 1, 1, 1, 2, 0]), torch.full((6,), 0.5), None,
                 classes=['ant', 'bee', 'cat'], class_counts=[500, 50, 5])


def record(**fields):
    return build_record(SCORES, **dict(dict(name='gcl-crt_resnet32_cifar10', seed=1), **fields))


def broken(change):
    other = copy.deepcopy(record())
    change(other)
    return other


def test_a_record_says_who_and_how():
    found = record(epoch=30, best=dict(epoch=20, accuracy=71.0), wall_time=12.5, date='2026-01-01',
                   fingerprints=dict(train='ab'), command='ltcls train x')
    assert found['method'] == 'gcl-crt'
    assert found['selected_on_test'] is False
    assert found['overall']['accuracy'] == approx(100 * 4 / 6)
    assert found['versions']['python'] == platform.python_version()
    assert found['versions']['torch'] == torch.__version__.split('+')[0]
    assert found['hardware']['cores'] == os.cpu_count()
    assert found['hardware']['instructions'] == torch.backends.cpu.get_cpu_capability()
    assert (found['seed'], found['epoch'], found['best']['epoch']) == (1, 30, 20)


def test_what_json_cannot_hold_is_kept_as_plain_values_or_text():
    config = dict(scale=np.float32(0.5), counts=torch.tensor([1, 2]), beta=(0.9, float('inf')),
                  loss=torch.nn.ReLU, sizes={3: np.arange(2)})
    kept = record(config=config)['config']
    assert kept == dict(scale=0.5, counts=[1, 2], beta=[0.9, 'inf'], loss=str(torch.nn.ReLU),
                        sizes={'3': [0, 1]})
    assert json.loads(json.dumps(kept)) == kept


def test_writing_and_reading_gives_the_same_record(tmp_path):
    path = write_record(tmp_path / 'run' / 'evaluation.json', record())
    assert read_record(path) == record(date=read_record(path)['date'])
    assert [p.name for p in path.parent.iterdir()] == ['evaluation.json']
    # one class a line, so that two records can be compared as text
    assert sum(line.strip().startswith('{"index"') for line in path.read_text().splitlines()) == 3


def test_a_failed_write_leaves_the_old_record(tmp_path, monkeypatch):
    path = write_record(tmp_path / 'evaluation.json', record(seed=1))

    def full_disk(*args):
        raise OSError('no space left')

    monkeypatch.setattr(os, 'replace', full_disk)
    with pytest.raises(OSError, match='no space'):
        write_record(path, record(seed=2))
    assert read_record(path)['seed'] == 1
    assert [p.name for p in tmp_path.iterdir()] == ['evaluation.json']


def test_measured_records_recombine():
    assert not contradictions(record()) and not contradictions(SCORES)


@pytest.mark.parametrize('change, said', [
    (lambda r: r['groups']['few'].update(accuracy=60.0), 'the accuracy of group few is 60.0'),
    (lambda r: r['groups']['many'].update(images=3), "'images' of group many is 3"),
    (lambda r: r['groups'].pop('medium'), 'the number of medium classes is 0'),
    (lambda r: r['overall'].update(accuracy=70.0), 'the overall accuracy is 70.0'),
    (lambda r: r['overall'].update(correct=5), "overall 'correct' is 5, its parts give 4"),
    (lambda r: r.update(balanced_accuracy=None), 'the balanced accuracy is None'),
    (lambda r: r['per_class'][0].update(correct=2), 'the accuracy of class ant is 50.0'),
    (lambda r: r['confusion'][2].__setitem__(1, 4), 'the confusion row of class cat is 6'),
])
def test_parts_that_do_not_add_up_are_named(tmp_path, change, said):
    other = broken(change)
    assert contradictions(other)
    assert any(said in fault for fault in contradictions(other))
    with pytest.raises(ValueError, match='contradicts itself'):
        read_record(write_record(tmp_path / 'evaluation.json', other))


def test_files_that_are_no_records_are_refused(tmp_path):
    path = tmp_path / 'evaluation.json'
    with pytest.raises(FileNotFoundError, match=f'No record at .* with --work-dir {tmp_path}.$'):
        read_record(path)
    path.write_text('{"format": 1, "over')
    with pytest.raises(ValueError, match=f'not a JSON file .* again with --work-dir {tmp_path}.$'):
        read_record(path)
    path.write_text('[]')
    with pytest.raises(ValueError, match='not a record of format 1'):
        read_record(path)
    path.write_text('{"format": 1, "name": "x", "overall": {}}')
    with pytest.raises(ValueError, match='lacks group_rule, groups'):
        read_record(path)
    write_record(path, broken(lambda r: r['per_class'][0].pop('total')))
    with pytest.raises(ValueError, match="is damaged .KeyError: 'total'"):
        read_record(path)
    write_record(path, broken(lambda r: r['confusion'].pop()))
    with pytest.raises(ValueError, match='the number of confusion rows is 2'):
        read_record(path)


def test_a_log_keeps_the_last_run_of_an_epoch_and_drops_a_torn_line(tmp_path):
    path = tmp_path / 'log.jsonl'
    lines = [dict(epoch=1, loss=2.0), dict(epoch=2, loss=1.5), dict(epoch=2, loss=1.4)]
    path.write_text(''.join(json.dumps(line) + '\n' for line in lines) + '{"epoch": 3, "lo')
    assert read_log(path) == [dict(epoch=1, loss=2.0), dict(epoch=2, loss=1.4)]


def test_a_bad_line_inside_a_log_is_named(tmp_path):
    path = tmp_path / 'log.jsonl'
    path.write_text('{"epoch": 1}\n{"loss": 2}\n{"epoch": 3}\n')
    with pytest.raises(ValueError, match='log.jsonl, line 2'):
        read_log(path)
    with pytest.raises(FileNotFoundError, match='No training log'):
        read_log(tmp_path / 'none.jsonl')


@pytest.mark.skipif(not Path('/proc/self/clear_refs').is_file(), reason='only Linux forgets')
def test_peak_memory_is_that_since_it_was_forgotten():
    forget_peak_memory()
    with mmap.mmap(-1, 2 ** 28) as large:         # goes back to the system at once
        for page in range(0, 2 ** 28, mmap.PAGESIZE):
            large[page] = 1
        most = peak_memory()
    forget_peak_memory()
    assert peak_memory() < most - 2 ** 27
