"""`ltcls analyze` on runs of the digits."""

import copy
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pytest import approx

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'analysis'))
from finished_run import make_run  # noqa: E402

from ltcls.analysis.cam import _image  # noqa: E402
from ltcls.analysis.embedding import FeatureOptions  # noqa: E402
from ltcls.analysis.flatness import (FlatnessOptions, flatness_columns,  # noqa: E402
                                     measured_before)
from ltcls.analysis.flatness_plots import plot_flatness  # noqa: E402
from ltcls.analysis.perturbation import Noise, random_probe, sam_sharpness  # noqa: E402
from ltcls.analysis.runs import (build_dataset, draw_images,  # noqa: E402
                                 load_model, open_runs, run_names)
from ltcls.analysis.surface import LossSurface  # noqa: E402
from ltcls.cli import main  # noqa: E402


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp('runs') / 'ce')


@pytest.fixture(scope='module')
def flatness(run, tmp_path_factory):
    out = tmp_path_factory.mktemp('out')
    assert main(['analyze', 'flatness', str(run), '--out', str(out), '--images-per-class', '3',
                 '--draws', '2', '--noise', 'filter:0.1', '--steps', '2', '--trace-draws', '2',
                 '--line', '3', '--plane', '3', '--seed', '4']) == 0
    return out / 'ce'


def test_the_numbers_are_those_of_the_run(run, flatness):
    found = json.loads((flatness / 'flatness.json').read_text())
    opened, = open_runs([run])
    model = load_model(opened)
    images = draw_images(build_dataset(opened, 'test'), 3, seed=4)
    assert found['images'] == dict(test=30, train=29)      # the rarest digit has two images
    with torch.no_grad():
        logits = model(model.data_preprocessor(
            dict(inputs=images.inputs, labels=images.labels), False)['inputs'])
    losses = torch.nn.functional.cross_entropy(logits, images.labels, reduction='none')
    noise, = found['random']['noises']
    assert noise['parts']['overall']['loss'] == approx(float(losses.mean()), rel=1e-5)
    assert noise['classes'][7]['loss'] == approx(float(losses[images.labels == 7].mean()), rel=1e-5)
    few = [row['loss'] for row in noise['classes'] if row['group'] == 'few']
    assert noise['parts']['few']['loss'] == approx(sum(few) / len(few))
    assert len(noise['parts']['few']['losses']) == 2
    middle = found['line']['parts']['overall']['losses'][1]
    assert found['plane']['parts']['overall']['losses'][4] == approx(middle)
    assert found['sam']['parts']['overall']['loss'] == approx(middle, rel=1e-5)
    assert found['hessian']['parameters'] == sum(p.numel() for p in model.parameters())
    assert found['hessian']['parts']['overall']['steps'] == 2


def test_sharpness_and_draws_are_those_of_the_probes(run, flatness):
    found = json.loads((flatness / 'flatness.json').read_text())
    opened, = open_runs([run])
    model = load_model(opened)
    train, test = (draw_images(build_dataset(opened, split), 3, seed=4)
                   for split in ('train', 'test'))
    surface = LossSurface(model, train.inputs, train.labels, scope='all')
    slopes, row = surface.gradient([0]), found['sam']['classes'][0]
    assert row['sharpness'] == approx(sam_sharpness(surface, [0], slopes, 0.05), rel=1e-3)
    assert row['adaptive'] == approx(
        sam_sharpness(surface, [0], slopes, 0.5, adaptive=True), rel=1e-3)
    surface = LossSurface(model, test.inputs, test.labels)
    _, drawn = random_probe(surface, Noise('filter', 0.1), draws=2, seed=4)
    overall = found['random']['noises'][0]['parts']['overall']
    assert overall['losses'] == approx([float(one.losses.mean()) for one in drawn], rel=1e-4)
    assert overall['accuracies'] == approx([100 * float(one.correct.mean()) for one in drawn])


def test_flatness_draws_its_pictures(flatness):
    assert sorted(path.name for path in flatness.iterdir()) == [
        'flatness.json', 'flatness.png', 'landscape.png']


def test_two_runs_are_compared_in_one_table_and_picture(run, tmp_path, capsys):
    other = make_run(tmp_path / 'runs' / 'gcl', method='gcl')
    assert main(['analyze', 'flatness', str(run), str(other), '--out', str(tmp_path / 'out'),
                 '--images-per-class', '1', '--probes', 'random', '--draws', '1',
                 '--noise', 'gaussian:1e-4']) == 0
    printed = capsys.readouterr().out
    assert 'rise, gaussian 0.0001' in printed
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {
        'ce', 'gcl', 'flatness_comparison.md', 'flatness_comparison.png'}
    assert (tmp_path / 'out' / 'flatness_comparison.md').read_text().startswith('| ')


def test_numbers_of_a_run_are_taken_again_only_for_the_same_options(run, tmp_path, capsys):
    command = ['analyze', 'flatness', str(run), '--out', str(tmp_path), '--images-per-class', '1',
               '--probes', 'random', '--noise', 'filter:0.1', '--draws', '1']
    assert main(command) == 0
    path = tmp_path / 'ce' / 'flatness.json'
    path.write_text(path.read_text().replace('"seconds": ', '"seconds": 99'))
    marked = path.read_text()
    assert main([*command, '--reuse']) == 0 and path.read_text() == marked
    assert main([*command[:-1], '2', '--reuse']) == 0 and path.read_text() != marked


def test_numbers_of_an_older_or_of_another_run_are_not_taken(run, flatness, tmp_path):
    path, (opened,) = flatness / 'flatness.json', open_runs([run])
    options = FlatnessOptions(**json.loads(path.read_text())['options'])
    assert measured_before(path, opened, options) == json.loads(path.read_text())
    again = opened._replace(record=dict(opened.record, seed=1))
    assert measured_before(path, again, options) is None
    older = Path(shutil.copy(path, tmp_path))
    os.utime(older, (0, 0))
    assert measured_before(older, opened, options) is None


def test_what_the_command_says_is_what_is_measured(run, monkeypatch):
    taken = []

    def measure(run, options, *rest, **more):
        taken.append(options)
        raise ValueError('enough')

    monkeypatch.setattr('ltcls.analysis.flatness.measure_flatness', measure)
    monkeypatch.setattr('ltcls.analysis.embedding.measure_features', measure)
    common = ['--images-per-class', '0', '--seed', '3', '--batch-size', '9']
    assert main(['analyze', 'flatness', str(run), *common, '--split', 'test', '--scope', 'head',
                 '--rho', '0.2', '--reach', '0.7', '--each-class']) == 2
    assert main(['analyze', 'features', str(run), *common, '--perplexity', '4', '--no-tsne']) == 2
    shared = dict(per_class=None, seed=3, batch_size=9)
    assert taken == [
        FlatnessOptions(**shared, split='test', scope='head', rho=0.2, reach=0.7, each_class=True),
        FeatureOptions(**shared, perplexity=4.0, tsne=False)]


def test_features_are_mapped_and_measured(run, tmp_path):
    assert main(['analyze', 'features', str(run), '--out', str(tmp_path), '--images-per-class',
                 '4', '--perplexity', '5', '--cam', '0', '499']) == 0
    found = json.loads((tmp_path / 'ce' / 'features.json').read_text())
    assert len(found['points']) == 40 + 8 * 4 + 3 + 2     # the two rarest have 3 and 2
    assert {len(point['tsne']) for point in found['points']} == {2}
    assert found['dimensions'] == 64
    for row in found['classes']:
        assert 0 < row['test']['within'] < 2
        assert row['row_norm'] > 0
    assert {path.name for path in (tmp_path / 'ce').iterdir()} == {
        'features.json', 'feature_map.png', 'feature_distances.png', 'cam.png'}
    opened, = open_runs([run])
    model, means, row = load_model(opened), [], found['classes'][7]
    for split in ('train', 'test'):
        images = draw_images(build_dataset(opened, split), 4)
        with torch.no_grad():
            features = model.extract(model.data_preprocessor(images._asdict(), False)['inputs'])
            answers = model.logits(features).argmax(1)
        assert answers.tolist() == [
            point['prediction'] for point in found['points'] if point['split'] == split]
        mine = features[images.labels == 7].double()
        assert row[split]['length'] == approx(float(mine.norm(dim=1).mean()), rel=1e-4)
        means.append((mine / mine.norm(dim=1, keepdim=True)).mean(0))
    assert row['shift'] == approx(float((means[0] - means[1]).norm()), rel=1e-3)
    few = [one['test']['within'] for one in found['classes'] if one['group'] == 'few']
    assert found['groups']['few']['test']['within'] == approx(sum(few) / len(few))


@pytest.mark.parametrize(('arguments', 'message'), [
    (['flatness', '--probes', 'sharp'], "no probe 'sharp'"),
    (['flatness', '--noise', 'gauss'], "Noise 'gauss' is unknown"),
    (['flatness', '--plane', '4', '--probes', 'plane', '--images-per-class', '1'], 'odd number'),
    (['features', '--images-per-class', '-1'], 'at least 1'),
], ids=['probe', 'noise', 'plane', 'images'])
def test_what_cannot_be_measured_is_one_line(run, arguments, message, capsys):
    assert main(['analyze', arguments[0], str(run), *arguments[1:]]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count('\n') == 1


def test_a_folder_without_a_checkpoint_says_what_is_needed(run, tmp_path, capsys):
    (tmp_path / 'evaluation.json').write_text((run / 'evaluation.json').read_text())
    assert main(['analyze', 'features', str(tmp_path)]) == 2
    assert 'no checkpoint' in capsys.readouterr().err
    assert main(['analyze', 'features', str(tmp_path / 'nowhere')]) == 2
    assert 'There is no folder' in capsys.readouterr().err


def test_names_of_runs_tell_them_apart(run):
    one, = open_runs([run])
    other = one._replace(record=dict(one.record, seed=1))
    assert run_names([one]) == ['ce']
    assert run_names([one, other]) == ['ce (seed 0)', 'ce (seed 1)']
    assert len(set(run_names([one, one._replace(folder=Path('elsewhere'))]))) == 2


def test_training_images_are_drawn_without_random_transforms(run):
    opened, = open_runs([run])
    first, again = (draw_images(build_dataset(opened, 'train'), 5, seed=1) for _ in range(2))
    assert first.inputs.equal(again.inputs)
    assert torch.bincount(first.labels).tolist() == [5, 5, 5, 5, 5, 5, 5, 5, 3, 2]
    other = draw_images(build_dataset(opened, 'train'), 5, seed=2)
    assert not first.inputs.equal(other.inputs)


def test_an_open_set_too_is_drawn_without_random_transforms(run, tmp_path):
    rng = np.random.default_rng(0)
    for part, count in (('train', 12), ('test', 4)):
        for name in 'abc':
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / name / f'{i}.png')

    def loader(split, pipeline):
        known = dict(type='FolderLT', root=str(tmp_path), split=split, imbalance=None,
                     pipeline=pipeline)
        return dict(dataset=dict(type='OpenSet', known=known, held_out=['c']))

    opened, = open_runs([run])
    config = dict(opened.config, test_dataloader=loader('test', []), train_dataloader=loader(
        'train', [dict(type='RandomCrop', size=8, padding=4)]))
    opened = opened._replace(record=dict(opened.record, config=config))
    train, test = (build_dataset(opened, split) for split in ('train', 'test'))
    assert train[3]['inputs'].equal(train[3]['inputs'])
    stranger = int(np.flatnonzero(np.asarray(test.labels) < 0)[0])
    assert _image(test, '0')[1] == 0 and _image(test, str(stranger))[1] is None
    pixels, label = _image(test, str(tmp_path / 'test' / 'a' / '0.png'))
    assert pixels.shape == (3, 8, 8) and label is None
    Image.fromarray(np.full((8, 8), 20000, np.uint16)).save(tmp_path / 'deep.png')
    assert _image(test, str(tmp_path / 'deep.png'))[0].unique().tolist() == [78]    # as in training


def test_runs_without_a_group_or_with_other_noises_stand_beside_each_other(flatness):
    one = json.loads((flatness / 'flatness.json').read_text())
    other, trained = copy.deepcopy(one), copy.deepcopy(one)
    for probe in ('random', 'sam', 'hessian', 'line'):
        for measured in other[probe].get('noises', [other[probe]]):
            del measured['parts']['few']
    other['random']['noises'].insert(0, dict(one['random']['noises'][0], scale=0.5))
    assert plot_flatness([one, other], ['one', 'other']) is not None
    columns = dict(flatness_columns(one))
    title, rise = next((t, pick) for t, pick in columns.items() if t.startswith('rise'))
    assert title == 'rise, filter 0.1' and rise(one, 'overall') == rise(other, 'overall')
    assert rise(other, 'few') is None
    trained['random']['split'], trained['sam']['rho'] = 'train', 9.0
    assert rise(trained, 'overall') is None
    assert columns['test loss'](trained, 'overall') is None
    assert columns[f"SAM {one['sam']['rho']:g}"](trained, 'overall') is None
    assert columns['top eigenvalue'](trained, 'overall') is not None
