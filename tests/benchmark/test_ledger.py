"""The ledger: what papers say, and what records give."""

import copy
import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from ltcls.engine.configs import config_names
from ltcls.engine.prepare import Options, load_config, plain_config
from ltcls.evaluation.open_set import measure_open_set
from ltcls.evaluation.record import build_record, contradictions, write_record
from ltcls.evaluation.scores import measure
from ltcls.longtail import exponential_counts

ROOT = Path(__file__).resolve().parents[2]


def tool(name):
    """A script of tools/benchmark as a module."""
    if name not in sys.modules:
        path = ROOT / 'tools' / 'benchmark' / f'{name}.py'
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


ledger = tool('ledger')
ROWS = ledger.read_ledger()
DATA = ledger.read_data()
CONFIGS = config_names()
CE = 'ce_resnet32_cifar10'


def row(dataset='CIFAR-10-LT IF100', **fields):
    """A row of the ledger; 70.70 is what GCL prints for cross-entropy."""
    values = dict.fromkeys((*ledger.PUBLISHED, *ledger.DERIVED))
    values.update(method='CE', dataset=dataset, imbalance=100, backbone='ResNet-32',
                  metric='accuracy', published=70.70, published_source=['a table'], quoted=False,
                  doubtful=False, stand_in=False, tried=[], config=CE, records=[])
    values.update(fields)
    return values


def run(correct=71, seed=0, name=CE, data='CIFAR-10-LT', date='2026-01-01T00:00:00', change=None,
        minutes=40.0, fingerprint='f' * 64, imbalance=100):
    """A finished run: of 100 test images a class, `correct` are right."""
    classes = DATA[data]['classes']
    labels = torch.arange(len(classes)).repeat_interleave(100)
    predictions = torch.where(torch.arange(len(labels)) % 100 < correct, labels,
                              (labels + 1) % len(classes))
    counts = exponential_counts(50_000 // len(classes), len(classes), imbalance)
    scores = measure(labels, predictions, torch.full((len(labels),), 0.5), None, classes=classes,
                     class_counts=counts, rule='counts')
    config = plain_config(load_config(CONFIGS[name], Options(seed=seed)))
    epoch = config['train_cfg']['max_epochs']
    if change:
        change(config)
    record = build_record(
        scores, name=name, config=config, seed=seed, epoch=epoch, wall_time=9.0, date=date,
        fingerprints=dict(train='t', test=fingerprint), training_time=60 * minutes,
        command='ltcls train ...', precision='bfloat16',
        hardware=dict(cpu='A processor', threads=2))
    return ledger.Run(f'docs/results/records/x/{name}_seed{seed}_{date}.json', record)


def filled(rows, runs):
    return ledger.fill(rows, runs, DATA)[0]


# -- what the ledger says -----------------------------------------------------------------------

# dataset, backbone, metric, method, number: typed from the papers' tables
PRINTED = [
    ('CIFAR-10-LT IF200', 'ResNet-32', 'accuracy', 'CE', 65.68),
    ('CIFAR-10-LT IF100', 'ResNet-32', 'accuracy', 'CE', 70.70),
    ('CIFAR-10-LT IF100', 'ResNet-32', 'accuracy', 'CE', 100 - 29.64),
    ('CIFAR-100-LT IF50', 'ResNet-32', 'accuracy', 'CE', 43.90),
    ('CIFAR-10-LT IF50', 'ResNet-32', 'accuracy', 'CE + mixup', 79.48),
    ('CIFAR-10-LT IF100', 'ResNet-32', 'accuracy', 'LDAM-DRW', 77.03),
    ('CIFAR-100-LT IF100', 'ResNet-32', 'accuracy', 'LDAM-DRW', 42.04),
    ('CIFAR-10-LT IF100', 'ResNet-32', 'accuracy', 'CE + mixup + cRT', 79.15),
    ('CIFAR-10-LT IF100', 'ResNet-32', 'accuracy', 'BBN', 79.82),
    ('CIFAR-10-LT IF100', 'ResNet-32', 'accuracy', 'MiSLAS', 82.06),
    ('CIFAR-100-LT IF200', 'ResNet-32', 'accuracy', 'MiSLAS', 42.33),
    ('CIFAR-100-LT IF200', 'ResNet-32', 'accuracy', 'MiSLAS', 43.5),
    ('CIFAR-10-LT IF200', 'ResNet-32', 'accuracy', 'GCL', 79.03),
    ('CIFAR-10-LT IF100', 'ResNet-32', 'accuracy', 'GCL', 82.68),
    ('CIFAR-10-LT IF50', 'ResNet-32', 'accuracy', 'GCL', 85.46),
    ('CIFAR-100-LT IF50', 'ResNet-32', 'accuracy', 'GCL', 53.55),
    ('CIFAR-10-LT IF100', 'ResNet-32', 'accuracy', 'GCL, stage 1', 80.52),
    ('CIFAR-10-LT IF100', 'ResNet-32', 'accuracy', 'GCL + LWS', 82.25),
    ('CIFAR-10-LT IF100', 'ResNet-32', 'accuracy', 'GCL, stage 2 on class-balanced samples', 82.43),
    ('CIFAR-10-LT IF100', 'ResNet-32', 'accuracy', 'CC-SAM', 83.92),
    ('CIFAR-100-LT IF100', 'ResNet-32', 'accuracy', 'CC-SAM', 50.83),
    ('CIFAR-10-LT IF100', 'ResNet-32', 'accuracy', 'VS + SAM', 82.40),
    ('CIFAR-100-LT IF10', 'ResNet-32', 'accuracy', 'ImbSAM', 59.7),
    ('CIFAR-100-LT IF100', 'ViT-B/16', 'accuracy', 'GNM-PT', 90.28),
    ('CIFAR-100-LT IF200', 'ViT-B/16', 'accuracy', 'GNM-PT', 89.2),
    ('CIFAR-100-LT IF100', 'ViT-B/16', 'few', 'GNM-PT', 89.62),
    ('CIFAR-100-LT IF100', 'ViT-B/16', 'accuracy', 'CE + SAM, prompts', 82.48),
    ('CIFAR-10-LT IF100', 'ResNet-32', 'accuracy', 'Meta-reweighting, CE', 100 - 23.59),
    ('CIFAR-10-LT IF100', 'ResNet-32', 'accuracy', 'Meta-reweighting, LDAM', 100 - 20.0),
    ('CIFAR-10-LT IF200', 'ResNet-32', 'accuracy', 'Meta-reweighting, focal loss', 100 - 25.57),
    ('CIFAR-100-LT IF1', 'ResNet-32', 'accuracy', 'Meta-reweighting, CE', 100 - 28.14),
    ('CIFAR-10-LT IF20', 'ResNet-32', 'accuracy', 'L2RW', 100 - 16.90),
    ('CIFAR-100-LT IF10', 'ResNet-32', 'accuracy', 'CB-focal', 100 - 42.01),
    ('CIFAR-10-LT IF10', 'ResNet-32', 'accuracy', 'CE-DRW', 100 - 13.12),
    ('ImageNet-LT', 'ResNet-50', 'accuracy', 'GCL', 54.88),
    ('ImageNet-LT', 'ResNeXt-50', 'few', 'CC-SAM', 41.1),
    ('ImageNet-LT', 'ResNet-32', 'top5', 'Meta-reweighting, CE', 100 - 45.18),
    ('ImageNet-LT', 'ResNet-50', 'open-set F', 'CC-SAM', 55.2),
    ('Places-LT', 'ResNet-152', 'accuracy', 'LWS', 37.62),
    ('Places-LT', 'ViT-B/16', 'medium', 'GNM-PT', 53.3),
    ('Places-LT', 'ResNet-152', 'top3', 'CB-CE', 100 - 51.58),
    ('iNaturalist 2018', 'ResNet-50', 'accuracy', 'CE', 63.80),
    ('iNaturalist 2018', 'ResNet-50', 'medium', 'LDAM-DRW + SAM', 70.5),
    ('iNaturalist 2018', 'ViT-B/16', 'accuracy', 'GNM-PT', 76.5),
    ('iNaturalist 2017', 'ResNet-50', 'accuracy', 'Meta-reweighting, CE', 100 - 40.62),
]


@pytest.mark.parametrize('printed', PRINTED, ids=lambda p: f'{p[3]}, {p[0]}, {p[2]}, {p[4]:.2f}')
def test_the_ledger_holds_what_the_paper_prints(printed):
    dataset, backbone, metric, method, number = printed
    found = [r['published'] for r in ROWS
             if (r['dataset'], r['backbone'], r['metric'], r['method'])
             == (dataset, backbone, metric, method)]
    assert any(abs(value - number) < 1e-9 for value in found), found


def test_every_config_named_exists_and_every_planned_one_does_not_yet():
    assert {r['config'] for r in ROWS if r['config']} <= set(CONFIGS)
    assert not {r['planned'] for r in ROWS if r['planned']} & set(CONFIGS)
    assert all(bool(r['config']) != bool(r['planned']) for r in ROWS)


def test_no_row_is_answered_by_a_short_schedule():
    assert not [r for r in ROWS if '-short' in (r['config'] or r['planned'])]


def test_a_row_and_its_config_speak_of_the_same_data_factor_and_schedule():
    for name, dataset, imbalance, recipe in {
            (r['config'], ledger.family(r), r['imbalance'], r['recipe'])
            for r in ROWS if r['config'] and 'classes' in DATA.get(ledger.family(r), ())}:
        cfg = ledger.shipped_config(CONFIGS[name])
        data = cfg.train_dataloader.dataset
        assert data.type == {'CIFAR-10-LT': 'CIFAR10LT'}.get(dataset, 'CIFAR100LT')
        assert data.imbalance == imbalance, name
        if recipe is None:
            continue
        chain = [cfg]
        while chain[0].get('init_from'):
            earlier = Path(chain[0].init_from.config).name.removesuffix('.py')
            chain.insert(0, ledger.shipped_config(CONFIGS[earlier]))
        steps = chain[0].param_scheduler[-1]
        words = [f'{chain[0].train_cfg.max_epochs} epochs',
                 f'batch {chain[0].train_dataloader.batch_size}',
                 {0.1: 'a tenth', 0.01: 'a hundredth'}[steps.gamma]
                 + ' of the rate at {} and at {}'.format(*steps.milestones)]
        later = chain[-1].train_cfg.max_epochs if len(chain) > 1 else 0
        text = ', '.join(words) + (f'; {later} epochs for the ' if later else '')
        assert recipe.removesuffix('classifier').removesuffix('scales') == text, name


def test_errors_are_converted_and_the_original_is_kept():
    converted = [r for r in ROWS if (r['original'] or '').startswith('error')]
    assert len(converted) > 100
    for r in converted:
        assert r['published'] == pytest.approx(100 - float(r['original'].split()[1]), abs=1e-9)


def test_a_number_stands_once_for_each_config_and_metric():
    keys = [(r['config'] or r['planned'], r['dataset'], r['metric'], r['published'], r['note'])
            for r in ROWS]
    assert len(set(keys)) == len(keys)


def test_the_stand_in_has_no_published_number_of_its_own():
    marked = [r for r in ROWS if r['stand_in']]
    assert marked and all(r['dataset'].startswith('Tiny-100-LT') for r in marked)
    assert all(r['published'] is None for r in marked)
    assert not [r for r in ROWS if r['dataset'].startswith('Tiny-100-LT') and not r['stand_in']]


def test_the_committed_ledger_and_its_page_are_what_the_records_give():
    assert ledger.check() == []


def test_every_committed_record_recombines():
    for committed in ledger.read_runs():
        assert not contradictions(committed.record), committed.path


# -- how numbers get in -------------------------------------------------------------------------

def test_ours_is_mean_deviation_and_seeds_of_the_records():
    runs = [run(70, seed=0), run(72, seed=1), run(74, seed=2)]
    found, = filled([row()], runs)
    assert found['ours'] == dict(mean=72.0, std=2.0, seeds=[0, 1, 2], values=[70.0, 72.0, 74.0],
                                 records=[r.path for r in runs])
    assert found['records'] == found['ours']['records']
    assert found['cost'] == 40.0
    assert found['hardware'] == 'A processor, 2 threads, bfloat16'


def test_one_seed_has_no_deviation():
    assert filled([row()], [run(70)])[0]['ours']['std'] is None


@pytest.mark.parametrize('correct, published, status', [
    (71, 71.5, 'reproduced'), (71, 71.51, 'not reproduced'), (71, 60.0, 'reproduced'),
    (71, None, 'measured')])
def test_reproduced_is_half_a_point_below_or_better(correct, published, status):
    assert filled([row(published=published)], [run(correct)])[0]['status'] == status


def test_without_a_run_it_is_open_or_cannot_be_run():
    assert filled([row()], [])[0]['status'] == 'not run'
    assert filled([row(obstacle='no data')], [])[0]['status'] == 'cannot run here'


def test_the_published_part_is_never_touched():
    rows = [row(note='as printed', tried=['another seed']), row(metric='many', group_rule='counts')]
    before = copy.deepcopy(rows)
    after = filled(rows, [run()])
    assert rows == before
    assert [{k: r[k] for k in ledger.PUBLISHED} for r in after] == [
        {k: r[k] for k in ledger.PUBLISHED} for r in before]


def test_of_two_records_of_one_seed_the_later_counts():
    runs = [run(75, date='2026-01-02T00:00:00'), run(70, date='2026-01-01T00:00:00')]
    assert filled([row()], runs)[0]['ours']['values'] == [75.0]


def test_a_planned_config_is_taken_over_once_it_exists():
    found, = filled([row(config=None, planned=CE)], [])
    assert (found['config'], found['planned']) == (CE, None)
    found, = filled([row(config=None, planned='wonder_resnet32_cifar10')], [])
    assert (found['config'], found['planned']) == (None, 'wonder_resnet32_cifar10')


def test_a_run_on_other_data_than_its_rows_fills_nothing_and_is_named():
    rows, remarks = ledger.fill([row()], [run(data='Tiny-100-LT')], DATA)
    assert rows[0]['ours'] is None
    assert [line.partition(' fills nothing: ')[2] for line in remarks] == [
        'its classes (n01443537, ...) are not those of CIFAR-10-LT']


def test_a_run_with_another_schedule_fills_nothing():
    def shorten(config):
        config['train_cfg']['max_epochs'] = 5
    rows, remarks = ledger.fill([row()], [run(change=shorten)], DATA)
    assert rows[0]['ours'] is None
    assert 'max_epochs' in remarks[0]


def test_a_run_of_unfinished_or_selected_weights_fills_nothing():
    for key, value in (('epoch', 195), ('selected_on_test', True), ('config', {})):
        changed = run()
        changed.record[key] = value
        assert filled([row()], [changed])[0]['ours'] is None


def test_precision_loaders_and_folders_do_not_make_another_experiment():
    def move(config):
        config['model'].update(precision='bfloat16', channels_last=True)
        config['train_dataloader'].update(num_workers=4, persistent_workers=True)
        config['train_dataloader']['dataset']['root'] = 'elsewhere'
    assert filled([row()], [run(71, change=move)])[0]['ours']['mean'] == 71.0


def test_the_stand_in_never_fills_a_row_of_cifar100_nor_the_other_way_round():
    name = 'ce_resnet32_cifar100'
    rows = [row('CIFAR-100-LT IF100', config=name),
            row('Tiny-100-LT IF100', config=name, stand_in=True, published=None)]
    tiny, cifar = run(30, name=name, data='Tiny-100-LT'), run(40, name=name, data='CIFAR-100-LT')
    found = filled(rows, [tiny])
    assert found[0]['ours'] is None
    assert (found[1]['ours']['mean'], found[1]['status']) == (30.0, 'measured')
    found = filled(rows, [cifar])
    assert (found[0]['ours']['mean'], found[1]['ours']) == (40.0, None)


def test_images_that_are_not_the_original_release_are_noted():
    known = DATA['CIFAR-10-LT']['known']
    notes = {filled([row()], [run(fingerprint=found)])[0]['data'] for found in known}
    assert notes == {None, 'CIFAR-10 encoded anew as JPEG'}
    assert filled([row()], [run(fingerprint='ab' * 32)])[0]['data'] == (
        'images of fingerprint abababababab')


def test_records_of_the_original_images_replace_those_of_copies():
    known = DATA['CIFAR-10-LT']['known']
    copy, = [found for found, note in known.items() if note]
    original = next(found for found, note in known.items() if note is None)
    runs = [run(60, seed=0, fingerprint=copy, date='2026-03-01T00:00:00'),
            run(62, seed=1, fingerprint=copy), run(70, seed=0, fingerprint=original)]
    [found] = filled([row()], runs)
    assert (found['ours']['values'], found['ours']['seeds'], found['data']) == ([70.0], [0], None)


def test_a_group_is_the_mean_of_its_classes_by_the_rule_of_the_table():
    name = 'ce_resnet32_cifar100'
    found = run(40, name=name, data='CIFAR-100-LT')
    for index, entry in enumerate(found.record['per_class']):
        entry['accuracy'] = 10.0 if index < 36 else 20.0 if index < 71 else 30.0
    few = row('CIFAR-100-LT IF100', metric='few', group_rule='index-gnm')
    assert ledger.measured(few, found.record) == 30.0
    # By counts, the first 35 classes have more than 100 images.
    many = row('CIFAR-100-LT IF100', metric='many', group_rule='counts')
    assert ledger.measured(many, found.record) == 10.0
    medium = row('CIFAR-100-LT IF100', metric='medium', group_rule='counts')
    assert 10.0 < ledger.measured(medium, found.record) < 20.0


def test_the_share_among_the_first_answers_is_read_for_its_own_number_of_them():
    found = run().record
    assert ledger.measured(row(metric='top5'), found) is None
    found['overall']['topk'] = dict(k=5, accuracy=90.0)
    assert ledger.measured(row(metric='top5'), found) == 90.0
    assert ledger.measured(row(metric='top3'), found) is None
    found['overall']['topk'] = [dict(k=3, accuracy=80.0), dict(k=5, accuracy=90.0)]
    assert [ledger.measured(row(metric=name), found) for name in ('top3', 'top5')] == [80, 90]


def test_another_test_set_is_another_experiment_and_its_loader_is_not():
    def reload(config):
        config['test_dataloader']['batch_size'] = 7

    def replace(config):
        config['test_dataloader']['dataset']['split'] = 'dev'

    assert filled([row()], [run(71, change=reload)])[0]['ours']['mean'] == 71.0
    assert filled([row()], [run(71, change=replace)])[0]['ours'] is None


def test_a_gpu_is_named_instead_of_the_processor():
    machine = dict(gpu='NVIDIA H200', cpu='A processor', threads=2)
    assert ledger.hardware(dict(hardware=machine)) == 'NVIDIA H200, float32'


def test_without_a_training_time_the_whole_time_is_the_cost():
    found = run()
    found.record.update(training_time=None, wall_time=600.0)
    assert filled([row()], [found])[0]['cost'] == 10.0


def test_the_cost_of_a_recipe_includes_the_stage_it_started_from():
    first = run(name='gcl_resnet32_cifar10', minutes=40)
    second = run(name='gcl-crt_resnet32_cifar10', minutes=5)
    rows = [row(config='gcl-crt_resnet32_cifar10'), row(config='gcl_resnet32_cifar10')]
    assert [r['cost'] for r in filled(rows, [first, second])] == [45.0, 40.0]
    other = run(name='gcl_resnet32_cifar10', seed=1)
    assert filled(rows[:1], [other, second])[0]['cost'] == 5.0
    elsewhere = run(name='gcl_resnet32_cifar10', fingerprint='e' * 64)
    assert filled(rows[:1], [elsewhere, second])[0]['cost'] == 5.0


def test_a_stage_trained_anew_after_the_run_is_not_counted_in_its_cost():
    first = run(name='gcl_resnet32_cifar10', minutes=160, date='2026-01-01T00:00:00')
    second = run(name='gcl-crt_resnet32_cifar10', minutes=6, date='2026-01-02T00:00:00')
    again = run(name='gcl_resnet32_cifar10', minutes=3, date='2026-02-01T00:00:00')
    rows = [row(config='gcl-crt_resnet32_cifar10')]
    assert filled(rows, [first, second, again])[0]['cost'] == 166.0


def test_the_cost_includes_a_stage_that_has_no_row():
    first = run(name='cc_sam_resnet32_cifar10', minutes=160)
    second = run(name='cc_sam-adv_resnet32_cifar10', minutes=7)
    assert filled([row(config='cc_sam-adv_resnet32_cifar10')], [first, second])[0]['cost'] == 167.0


def test_the_open_set_number_is_that_of_the_paper_in_percent():
    found = run().record
    asked = row(metric='open-set F')
    assert ledger.measured(asked, found) is None
    labels, answers = torch.tensor([0, 0, 1, -1]), torch.tensor([0, 1, 1, 0])
    found['open_set'] = measure_open_set(labels, answers, torch.tensor([0.9, 0.9, 0.0, 0.9]), 0.5,
                                         [9, 9])
    # One right, one taken for another class, one stranger let in: P = R = 1/2.
    assert ledger.measured(asked, found) == pytest.approx(50.0)


def test_a_row_far_below_asks_for_what_was_tried():
    _, remarks = ledger.fill([row()], [run(60)], DATA)
    assert "'tried'" in remarks[0]
    assert ledger.fill([row(tried=['more epochs: 61'])], [run(60)], DATA)[1] == []


# -- what is refused ----------------------------------------------------------------------------

def test_a_number_without_a_record_is_a_fault():
    good, = filled([row()], [run(71)])
    assert ledger.faults([good], [run(71)], DATA) == []
    assert 'there is no record' in ledger.faults([good], [], DATA)[0]
    invented = dict(good, records=[])
    assert 'a number without a record' in ledger.faults([invented], [run(71)], DATA)[0]
    assert 'the records give' in ledger.faults(
        [dict(good, ours=dict(good['ours'], mean=80.0))], [run(71)], DATA)[0]


def test_a_config_that_does_not_exist_is_a_fault():
    assert 'there is no config nothing' in ledger.faults([row(config='nothing')], [], DATA)[0]


def test_records_that_contradict_themselves_are_refused(tmp_path):
    record = run(71).record
    write_record(tmp_path / 'a.json', record)
    assert len(ledger.read_runs(tmp_path)) == 1
    record['groups']['many']['accuracy'] += 1
    write_record(tmp_path / 'a.json', record)
    with pytest.raises(ValueError, match='contradicts itself: the accuracy of group many'):
        ledger.read_runs(tmp_path)


def test_a_row_with_a_key_missing_is_refused(tmp_path):
    path = tmp_path / 'ledger.json'
    path.write_text(ledger.to_text([row()]).replace('"imbalance": 100, ', ''))
    with pytest.raises(ValueError, match="row 1 .*'imbalance' is missing"):
        ledger.read_ledger(path)


def test_what_is_out_of_date_or_wrong_is_the_exit_status(monkeypatch, capsys):
    def refuse():
        raise ValueError('row 3')

    for found, status in (['a.md is out of date'], 1), ([], 0):
        monkeypatch.setattr(ledger, 'check', lambda found=found: found)
        assert ledger.main(['--check']) == status
    assert capsys.readouterr().out.startswith('a.md is out of date\nRun python tools/benchmark')
    monkeypatch.setattr(ledger, 'refresh', refuse)
    assert ledger.main([]) == 2 and capsys.readouterr().err == 'error: row 3\n'


def test_writing_and_reading_gives_the_same_rows(tmp_path):
    (tmp_path / 'ledger.json').write_text(ledger.to_text(ROWS), encoding='utf-8')
    assert ledger.read_ledger(tmp_path / 'ledger.json') == ROWS


def test_the_page_shows_published_ours_gap_cost_config_and_what_was_tried():
    rows = filled([row(tried=['batches of 128: 70.1'])], [run(69, seed=0), run(70, seed=1)])
    line, = [x for x in ledger.page(rows).splitlines() if x.startswith('| CE |')]
    cells = [cell.strip() for cell in line.strip('|').split('|')]
    assert cells[1:5] == ['70.7', 'a table', '69.50 ± 0.71 (2)', '-1.20']
    assert cells[5:9] == ['40', 'A processor, 2 threads, bfloat16', f'`{CE}`', 'not reproduced']
    assert 'Tried: batches of 128: 70.1.' in ledger.page(rows)
