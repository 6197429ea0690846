"""`ltcls analyze`: what a look into the weights and the features of finished runs shows."""

import argparse
import os
from pathlib import Path

from .arguments import at_least

HELP = 'flatness or features of finished runs'


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What `ltcls analyze flatness` and `ltcls analyze features` take."""
    kinds = command.add_subparsers(dest='what', required=True)
    flatness = kinds.add_parser('flatness', help='how the loss changes around the trained weights')
    _common(flatness)
    flatness.add_argument('--reuse', action='store_true',
                          help='take the numbers of runs that were measured with the same options')
    flatness.add_argument('--probes', nargs='+', default=None, metavar='PROBE',
                          help='of random, sam, hessian, line, plane; all by default')
    flatness.add_argument('--split', choices=['train', 'test'],
                          help='images of every probe; by default test images for the random '
                               'perturbations and training images for the others')
    flatness.add_argument('--scope', default='weights',
                          choices=['weights', 'backbone', 'head', 'all'],
                          help='which parameters random perturbations and directions move')
    flatness.add_argument('--noise', nargs='+', metavar='KIND:SCALE',
                          help='random perturbations, e.g. gaussian:0.001 filter:0.1')
    flatness.add_argument('--draws', type=int, default=5, help='perturbations of each kind')
    flatness.add_argument('--rho', type=float, default=0.05, help="radius of SAM's sharpness")
    flatness.add_argument('--steps', type=int, default=30, help='Lanczos steps at most')
    flatness.add_argument('--trace-draws', type=int, default=20, help='random vectors of the trace')
    flatness.add_argument('--each-class', action='store_true',
                          help='the Hessian of every class too, not of the groups alone')
    flatness.add_argument('--reach', type=float, default=0.5,
                          help='ends of curve and surface, in filter lengths')
    flatness.add_argument('--line', type=int, default=21, help='points of the curve')
    flatness.add_argument('--plane', type=int, default=11, help='points of a side of the surface')

    features = kinds.add_parser('features', help='maps, distances and norms of the features')
    _common(features)
    features.add_argument('--perplexity', type=float, default=30.0, help='of t-SNE')
    features.add_argument('--no-tsne', action='store_true', help='PCA alone, which is quick')
    features.add_argument('--cam', nargs='+', default=[], metavar='IMAGE',
                          help='class activation maps of these test images (by number) or files')


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument('runs', nargs='+', metavar='RUN', help='folder of a finished run')
    command.add_argument('--out', type=Path,
                         help="where to write, a folder for each run; the runs' own otherwise")
    command.add_argument('--images-per-class', type=int, default=100, metavar='N',
                         help='images measured of each class, 100 by default; 0 for all')
    command.add_argument('--seed', type=at_least(0), default=0, help='of every random choice')
    command.add_argument('--batch-size', type=int, default=250)
    command.add_argument('--data-root', help='folder of the data, instead of the one in the config')
    command.add_argument('--device', default='auto', help="'cpu', 'cuda'; the GPU if there is one")


def run(options: argparse.Namespace) -> None:
    """Measure, write numbers and pictures, print a table."""
    from ltcls.analysis.runs import open_runs, run_names
    runs = open_runs(options.runs)
    names = run_names(runs)
    folders = [one.folder if options.out is None else options.out / _file_name(name)
               for one, name in zip(runs, names)]
    analyse = dict(flatness=_flatness, features=_features)[options.what]
    analyse(options, runs, names, folders)


def _flatness(options: argparse.Namespace, runs, names, folders) -> None:
    from ltcls.analysis.flatness import (FILE_NAME, PROBES, FlatnessOptions, flatness_table,
                                         measure_flatness, measured_before)
    from ltcls.analysis.flatness_plots import plot_flatness, write_flatness_plots
    from ltcls.analysis.style import save
    from ltcls.evaluation.record import write_record
    chosen = FlatnessOptions(
        probes=tuple(options.probes or PROBES), split=options.split,
        per_class=options.images_per_class or None, seed=options.seed,
        batch_size=options.batch_size, scope=options.scope, draws=options.draws, rho=options.rho,
        steps=options.steps, trace_draws=options.trace_draws, each_class=options.each_class,
        reach=options.reach, line_points=options.line, plane_points=options.plane)
    if options.noise:
        chosen.noises = tuple(options.noise)
    chosen.check()
    found = []
    for one, folder in zip(runs, folders):
        known = measured_before(folder / FILE_NAME, one, chosen) if options.reuse else None
        if known is not None:
            found.append(known)
            continue
        found.append(measure_flatness(one, chosen, options.data_root, _device(options.device),
                                      say=lambda line: print(line, flush=True),
                                      command=options.command_line))
        write_record(folder / FILE_NAME, found[-1])
        pictures = write_flatness_plots(found[-1], folder)
        print(f"{folder / FILE_NAME}, {', '.join(path.name for path in pictures)}", flush=True)
    print(flatness_table(found, names))
    if len(runs) > 1:
        page = _shared_folder(options, runs) / 'flatness_comparison.md'
        page.write_text(flatness_table(found, names, markdown=True) + '\n', encoding='utf-8')
        figure = plot_flatness(found, names)
        pictures = [] if figure is None else [save(figure, page.with_suffix('.png'))]
        print(', '.join(map(str, [page, *pictures])))


def _features(options: argparse.Namespace, runs, names, folders) -> None:
    from ltcls.analysis.embedding import (FILE_NAME, FeatureOptions, features_table,
                                          measure_features)
    from ltcls.analysis.embedding_plots import write_feature_plots
    from ltcls.evaluation.record import write_record
    chosen = FeatureOptions(
        per_class=options.images_per_class or None, seed=options.seed,
        batch_size=options.batch_size, perplexity=options.perplexity, tsne=not options.no_tsne)
    chosen.check()
    found = []
    for one, folder in zip(runs, folders):
        found.append(measure_features(one, chosen, options.data_root, _device(options.device),
                                      command=options.command_line))
        write_record(folder / FILE_NAME, found[-1])
        pictures = write_feature_plots(found[-1], folder)
        if options.cam:
            from ltcls.analysis.cam import write_activation_maps
            pictures.append(write_activation_maps(one, options.cam, folder / 'cam.png',
                                                  options.data_root, _device(options.device)))
        print(f"{folder / FILE_NAME}, {', '.join(path.name for path in pictures)}", flush=True)
    print(features_table(found, names))


def _device(name: str) -> str:
    import torch
    if name == 'auto':
        return 'cuda' if torch.cuda.is_available() else 'cpu'
    return name


def _shared_folder(options: argparse.Namespace, runs) -> Path:
    folder = options.out or Path(os.path.commonpath([one.folder.resolve() for one in runs]))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _file_name(name: str) -> str:
    """A run's name as the name of a folder."""
    return '-'.join(''.join(c if c.isalnum() or c in '._-' else ' ' for c in name).split())
