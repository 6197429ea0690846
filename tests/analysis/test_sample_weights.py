"""The picture of learned sample weights shows what the log holds."""

import json

import pytest
from pytest import approx

from ltcls.analysis.sample_weights import plot_sample_weights, read_weights_log, relative_size

LINES = [dict(epoch=3, iteration=25, eps=0.002, class_weight=0.5, weight=0.5, negative=0.0),
         dict(epoch=3, iteration=30, eps=0.001, class_weight=0.5, weight=0.5, negative=0.25)]


def test_the_log_is_read_from_a_file_or_a_folder(tmp_path):
    path = tmp_path / 'weights.jsonl'
    path.write_text(''.join(json.dumps(line) + '\n' for line in LINES))
    assert read_weights_log(path) == read_weights_log(tmp_path) == LINES


def test_the_learned_part_is_drawn_relative_to_the_class_weights():
    assert relative_size(LINES[0]) == approx(0.004)
    figure = plot_sample_weights(dict(first=LINES, second=LINES[:1]))
    sizes, negative = figure.axes
    # Ten iterations an epoch: the 25th is the middle of the third.
    assert sizes.lines[0].get_xdata() == approx([2.5, 3.0])
    assert sizes.lines[0].get_ydata() == approx([0.004, 0.002])
    assert negative.lines[0].get_ydata() == approx([0, 25])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ['first', 'second']


@pytest.mark.parametrize('logs, message', [
    ({}, 'No line'), (dict(a=[]), 'No line'),
    (dict(a=[dict(epoch=1, iteration=1, weight=1.0, negative=0.0)]), "'a' has no eps")])
def test_a_log_without_a_learned_part_is_refused(logs, message):
    with pytest.raises(ValueError, match=message):
        plot_sample_weights(logs)


def test_a_damaged_log_is_named(tmp_path):
    (tmp_path / 'weights.jsonl').write_text('{"iteration": 4}\n{"iter\n')
    with pytest.raises(ValueError, match='weights.jsonl holds a damaged line'):
        read_weights_log(tmp_path)
