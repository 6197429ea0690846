"""Finding checkpoints, and taking parts of one into another model."""

import pytest
import torch
from torch import nn

from ltcls.engine.checkpoint import (finished_checkpoint, latest_checkpoint, load_init, write_init)


class Model(nn.Module):

    def __init__(self, classes=3, width=4, scales=False, bias=True):
        super().__init__()
        self.backbone = nn.Linear(5, width)
        self.head = nn.Linear(width, classes, bias=bias)
        if scales:
            self.head.scales = nn.Parameter(torch.ones(classes))
        self.register_buffer('class_counts', torch.zeros(classes, dtype=torch.float64))


@pytest.fixture
def source(tmp_path):
    """A checkpoint of an earlier stage, and its model."""
    model = Model()
    model.class_counts.copy_(torch.tensor([40.0, 20.0, 10.0]))
    path = tmp_path / 'ce_toy_digits' / 'epoch_3.pth'
    path.parent.mkdir()
    torch.save(dict(state_dict=model.state_dict(), meta=dict(epoch=3)), path)
    return path, model


def taken(source, parts, model, tmp_path):
    """The model after it was given these parts of the source, and the line that says so."""
    target = tmp_path / 'init.pth'
    write_init(source, target, parts)
    return load_init(model, target)


# -- finding --------------------------------------------------------------------------------


def touch(folder, *names):
    for name in names:
        (folder / name).write_text('')


def test_a_run_has_come_to_its_end_when_its_last_epoch_is_there(tmp_path):
    touch(tmp_path, 'epoch_10.pth', 'epoch_30.pth.tmp')
    assert finished_checkpoint(tmp_path, 30) is None
    assert finished_checkpoint(tmp_path, 10) == tmp_path / 'epoch_10.pth'
    assert finished_checkpoint(tmp_path / 'nothing', 10) is None


def test_the_newest_checkpoint_is_the_named_one_else_that_of_the_highest_epoch(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    touch(tmp_path, 'epoch_5.pth', 'epoch_10.pth', 'epoch_15.pth.tmp', 'epoch_last.pth', 'init.pth')
    assert latest_checkpoint(tmp_path) == tmp_path / 'epoch_10.pth'
    (tmp_path / 'last_checkpoint').write_text('/a/folder/that/was/moved/epoch_5.pth')
    assert latest_checkpoint(tmp_path) == tmp_path / 'epoch_5.pth'


@pytest.mark.parametrize('content', ['', '\n', '/somewhere/epoch_99.pth'])
def test_a_pointer_to_nothing_is_passed_over(tmp_path, content):
    # A run that is killed while the pointer is written leaves it empty.
    touch(tmp_path, 'epoch_5.pth')
    (tmp_path / 'last_checkpoint').write_text(content)
    assert latest_checkpoint(tmp_path) == tmp_path / 'epoch_5.pth'


# -- taking over ----------------------------------------------------------------------------


def test_the_named_parts_and_the_counts_are_taken_and_nothing_else(source, tmp_path):
    path, earlier = source
    model = Model()
    head = model.head.weight.clone()
    line = taken(path, ['backbone'], model, tmp_path)
    assert torch.equal(model.backbone.weight, earlier.backbone.weight)
    assert torch.equal(model.head.weight, head)
    assert model.class_counts.tolist() == [40, 20, 10]
    assert line == 'init from ce_toy_digits: backbone'


def test_a_part_may_be_a_path_inside_a_module(source, tmp_path):
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))

    path = tmp_path / 'deep.pth'
    earlier, target = Deep(), tmp_path / 'init.pth'
    torch.save(dict(state_dict=earlier.state_dict()), path)
    write_init(path, target, ['backbone.1'])
    assert set(torch.load(target)['state_dict']) == {'backbone.1.weight', 'backbone.1.bias'}


def test_a_part_does_not_take_its_namesakes(tmp_path):
    state = {f'backbone.blocks.{number}.weight': torch.ones(1) for number in (1, 10)}
    torch.save(dict(state_dict=state), tmp_path / 'epoch_1.pth')
    write_init(tmp_path / 'epoch_1.pth', tmp_path / 'init.pth', ['backbone.blocks.1'])
    assert set(torch.load(tmp_path / 'init.pth')['state_dict']) == {'backbone.blocks.1.weight'}


def test_the_line_says_what_was_left_and_what_is_new(source, tmp_path):
    path, _ = source
    line = taken(path, ['backbone', 'head'], Model(scales=True, bias=False), tmp_path)
    assert line == ('init from ce_toy_digits: backbone, head; not used here: head.bias; '
                    'new here: head.scales')


def test_an_unknown_part_is_an_error_that_names_the_parts(source, tmp_path):
    with pytest.raises(ValueError, match="names 'neck'.* it holds backbone, class_counts, head"):
        write_init(source[0], tmp_path / 'init.pth', ['backbone', 'neck'])
    assert not (tmp_path / 'init.pth').exists()


@pytest.mark.parametrize('options, message', [
    (dict(classes=7), r"'head.weight' has shape \[3, 4\] in the earlier stage and \[7, 4\] here"),
    (dict(width=8), r"'backbone.weight' has shape \[4, 5\] .* \[8, 5\] here"),
])
def test_another_shape_is_an_error_that_names_it(source, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        taken(source[0], ['backbone', 'head'], Model(**options), tmp_path)


def test_a_backbone_is_taken_over_from_a_model_of_other_classes(source, tmp_path):
    path, earlier = source
    model = Model(classes=7)
    taken(path, ['backbone'], model, tmp_path)
    assert torch.equal(model.backbone.weight, earlier.backbone.weight)
    assert model.class_counts.tolist() == [0] * 7


def test_a_backbone_must_match_in_full(source, tmp_path):
    model = Model()
    model.backbone = nn.Sequential(nn.Linear(5, 4))
    with pytest.raises(ValueError, match="backbone of the earlier stage does not fit .*'backbone"):
        taken(source[0], ['backbone'], model, tmp_path)
    model = Model()
    model.backbone.extra = nn.Parameter(torch.ones(1))
    with pytest.raises(ValueError, match="first difference 'backbone.extra'"):
        taken(source[0], ['backbone'], model, tmp_path)


def test_the_written_file_is_read_by_a_bare_load(source, tmp_path):
    target = tmp_path / 'init.pth'
    write_init(source[0], target, ['backbone'])
    content = torch.load(target, weights_only=True)
    assert content['source'] == 'ce_toy_digits' and content['parts'] == ['backbone']
    assert not target.with_suffix('.tmp').exists()
