"""What the analyses load of a finished run."""

import json

import numpy as np
import pytest
import torch
from finished_run import make_run

from ltcls.analysis.runs import build_dataset, check_memory, draw_images, load_model, open_runs
from ltcls.datasets import DigitsLT

OWN_LOSS = '''
from ltcls.losses import CrossEntropyLoss
from ltcls.registry import LOSSES


@LOSSES.register_module()
class {name}(CrossEntropyLoss):
    pass
'''


def with_config(run, **changes):
    path = run / 'evaluation.json'
    record = json.loads(path.read_text())
    record['config']['model']['loss'] = dict(type=changes.pop('loss'))
    record['config'].update(changes)
    path.write_text(json.dumps(record))
    return open_runs([run])[0]


def test_a_run_with_imports_of_its_own_is_loaded(tmp_path, monkeypatch):
    (tmp_path / 'lt_own_loss.py').write_text(OWN_LOSS.format(name='LossOfMine'))
    run = with_config(make_run(tmp_path / 'run'), loss='LossOfMine',
                      custom_imports=dict(imports=['lt_own_loss']))
    with pytest.raises(ValueError, match='custom_imports .* import lt_own_loss. Add its folder '):
        load_model(run)
    monkeypatch.syspath_prepend(tmp_path)
    assert type(load_model(run).loss).__name__ == 'LossOfMine'


def test_a_name_that_is_not_registered_here_is_named_with_its_key(tmp_path):
    run = with_config(make_run(tmp_path / 'run'), loss='FocalLos')
    for load in (load_model, lambda run: build_dataset(run, 'test')):
        with pytest.raises(ValueError, match="^model.loss: 'FocalLos' is not .* Did you mean Focal"):
            load(run)


def test_drawn_images_are_those_of_the_data_set_by_class():
    digits = DigitsLT(imbalance=10)
    images = draw_images(digits, per_class=5)
    assert torch.equal(images.labels, torch.arange(10).repeat_interleave(5))
    assert np.array_equal(digits.labels[images.indices], images.labels)
    for image, index in zip(images.inputs, images.indices):
        assert torch.equal(image, digits[int(index)]['inputs'])
    everything = draw_images(digits, per_class=None)
    assert len(everything.inputs) == len(digits) and everything.inputs.dtype == torch.uint8


def test_more_images_than_the_memory_holds_are_refused():
    check_memory(1000, 1000, classes=10, memory=2_000_000)
    with pytest.raises(ValueError, match='^1,001 images take 0.0 GB, more than half .* '
                                         'such as --images-per-class 100[.]$'):
        check_memory(1001, 1000, classes=10, memory=2_000_000)
