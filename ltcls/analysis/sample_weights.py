"""What learned sample weights did in a run: the size of the learned part over time."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ltcls.analysis.style import METHOD_COLOURS, literal, new_figure, styled
from ltcls.hooks.sample_weights import WEIGHTS_LOG

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def read_weights_log(path: str | Path) -> list[dict]:
    """The lines of a run's weights.jsonl, given by file or by the run's folder.

    Raises:
        ValueError: a line that is no JSON.
    """
    path = Path(path)
    path = path / WEIGHTS_LOG if path.is_dir() else path
    try:
        return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]
    except ValueError as error:
        raise ValueError(f'{path} holds a damaged line ({error}): take it out.') from error


def relative_size(line: dict) -> float:
    """The mean of |eps| over the mean of the class weights w_y, in one line of the log."""
    return line['eps'] / line['class_weight']


@styled()
def plot_sample_weights(logs: dict[str, list[dict]]) -> 'Figure':
    """|eps| relative to w_y, and the share of negative weights, over the epochs of each run.

    Args:
        logs: by the name of the run, from runs of `MetaReweightHook`.

    Raises:
        ValueError: nothing to draw, or a log without a learned part.
    """
    if not logs or not all(logs.values()):
        raise ValueError('No line in the logs of sample weights: train beyond the hook\'s `begin`.')
    without = [name for name, lines in logs.items() if 'eps' not in lines[0]]
    if without:
        raise ValueError(f"The log of '{without[0]}' has no eps: it is not of MetaReweightHook, or "
                         'of tau=0.')
    figure = new_figure(12.5, 3.9)
    sizes, negative = figure.subplots(1, 2)
    for number, (name, lines) in enumerate(logs.items()):
        # Iterations as fractions of epochs, which all runs share.
        per_epoch = lines[-1]['iteration'] / lines[-1]['epoch']
        epochs = [line['iteration'] / per_epoch for line in lines]
        colour = METHOD_COLOURS[number % len(METHOD_COLOURS)]
        marker = 'o' if len(lines) < 4 else None
        sizes.plot(epochs, [relative_size(line) for line in lines], color=colour, marker=marker,
                   label=literal(name))
        negative.plot(epochs, [100 * line['negative'] for line in lines], color=colour,
                      marker=marker)
    sizes.set(yscale='log', xlabel='epoch', ylabel='mean |eps| / mean class weight',
              title='size of the learned part')
    negative.set(xlabel='epoch', ylabel='samples in %', title='negative weights')
    negative.set_ylim(bottom=0)
    figure.legend(*sizes.get_legend_handles_labels(), loc='outside right center', fontsize=8)
    return figure
