"""`ltcls predict`."""

import argparse
from pathlib import Path

from .arguments import at_least

HELP = 'the classes of new images, by the model of a finished run'
SHOWN = 20      # images that are listed on the terminal


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What `ltcls predict` takes."""
    command.add_argument('run_folder', metavar='RUN', help='folder of a finished run')
    command.add_argument('images', nargs='+', metavar='IMAGE', help='image files, or folders')
    command.add_argument('-o', '--out', type=Path, default=Path('predictions.csv'),
                         help='CSV file to write; predictions.csv by default')
    command.add_argument('--top', type=at_least(1), default=1,
                         help='classes an image; 1 by default')
    command.add_argument('--batch-size', type=at_least(1), default=64)
    command.add_argument('--workers', type=at_least(0), default=0,
                         help='processes that read images')


def run(options: argparse.Namespace) -> None:
    """Predict, list some and write all."""
    from ltcls.analysis.prediction import find_images, predict, write_predictions
    from ltcls.analysis.runs import open_runs
    [found] = open_runs([options.run_folder])
    paths = find_images(options.images)
    predictions = list(predict(found, paths, options.top, options.batch_size, options.workers))
    for one in predictions[:SHOWN]:
        pairs = zip(one.classes, one.probabilities)
        print(f'{one.path}: ' + ', '.join(f'{name} {100 * value:.1f} %' for name, value in pairs))
    if len(predictions) > SHOWN:
        print(f'... and {len(predictions) - SHOWN} more')
    write_predictions(predictions, options.out)
    print(f'{len(predictions)} images in {options.out}')
