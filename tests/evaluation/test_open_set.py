import numpy as np
import pytest
import torch
from PIL import Image
from pytest import approx
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score
from torch.utils.data import DataLoader

from ltcls.datasets import DataError, OpenSet, collate_batch
from ltcls.evaluation import OpenSetAccuracy
from ltcls.evaluation.open_set import auroc, f_measures, measure_open_set
from ltcls.evaluation.record import build_record, contradictions
from ltcls.evaluation.table import run_table
from ltcls.hooks.dev_batches import DevBatches
from ltcls.registry import DATASETS, METRICS

# Three known classes, four unknown images; -1 is unknown, and rejected.
LABELS = torch.tensor([0, 0, 1, 1, 2, 2, -1, -1, -1, -1])
ANSWERS = torch.tensor([0, 1, 1, -1, 2, 0, -1, -1, 0, 2])
META = dict(classes=['a', 'b', 'c'], train_class_counts=[500, 50, 5])


def predictions(images=400, known=6, seed=0):
    """Labels, predictions and confidences of images of which a third is unknown."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(-1, known, (images,), generator=generator)
    labels[torch.rand(images, generator=generator) < 0.2] = -1
    answers = torch.where(torch.rand(images, generator=generator) < 0.7, labels.clamp(min=0),
                          torch.randint(known, (images,), generator=generator))
    confidences = torch.rand(images, generator=generator) + 0.2 * (labels >= 0)
    # Few different values: ties between known and unknown images.
    return labels, answers, (confidences / 1.2 * 20).round() / 20


def test_the_worked_out_case_in_all_three_readings():
    # right: images 0, 2, 4; another known class: 1, 5; rejected though known: 3; accepted though
    # unknown: 8, 9
    found = f_measures(LABELS, ANSWERS)
    assert found['paper'] == approx(dict(precision=3 / 5, recall=3 / 5, f=0.6))
    assert found['corrected'] == approx(dict(precision=3 / 6, recall=3 / 5, f=0.545454545))
    assert found['textbook'] == approx(dict(precision=3 / 7, recall=3 / 6, f=0.461538462))


@pytest.mark.parametrize('seed', range(3))
def test_the_textbook_reading_is_the_micro_average_of_scikit_learn(seed):
    labels, answers, confidences = predictions(seed=seed)
    answers = torch.where(confidences < 0.4, -1, answers)
    expected = precision_recall_fscore_support(labels, answers, labels=range(6), average='micro')
    found = f_measures(labels, answers)['textbook']
    assert (found['precision'], found['recall'], found['f']) == approx(expected[:3])


@pytest.mark.parametrize('seed', range(3))
def test_known_against_unknown_is_ranked_as_scikit_learn_does(seed):
    labels, _, confidences = predictions(seed=seed)
    known = labels >= 0
    assert auroc(confidences[known], confidences[~known]) == approx(
        100 * roc_auc_score(known, confidences))
    assert auroc(confidences, confidences[:0]) is None


def test_without_unknown_images_and_rejection_every_f_is_the_accuracy_in_its_own_way():
    labels, answers = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 0])
    for found in f_measures(labels, answers).values():
        assert found['precision'] == 0.75
    assert f_measures(labels, answers)['textbook']['f'] == 0.75
    assert f_measures(labels, answers)['paper']['recall'] == 1
    assert f_measures(labels, torch.full((4,), -1))['paper'] == dict(precision=0, recall=0, f=0)


def test_rejected_known_images_are_wrong_in_their_group():
    confidences = torch.where(ANSWERS == -1, 0.05, 0.9)
    guesses = torch.where(ANSWERS == -1, torch.tensor([0, 0, 0, 1, 0, 0, 2, 2, 0, 0]), ANSWERS)
    found = measure_open_set(LABELS, guesses, confidences, 0.1, META['train_class_counts'])
    assert found['groups'] == approx(dict(many=50, medium=50, few=50))
    assert found['accuracy'] == approx(50)
    assert found['rejected'] == dict(known=1, unknown=2)
    assert found['images'] == dict(known=6, unknown=4)
    assert found['f']['paper']['f'] == approx(0.6)
    # known 0.9 five times and 0.05; unknown 0.9 twice and 0.05 twice
    assert found['auroc'] == approx(100 * (5 * (2 + 2 / 2) + 2 / 2) / 24)


def test_the_metric_keeps_the_closed_set_record_to_known_images():
    made = METRICS.build(dict(type='OpenSetAccuracy', threshold=0.5, topk=1))
    assert isinstance(made, OpenSetAccuracy)
    made.dataset_meta = META
    scores = torch.tensor([[0.8, 0.1, 0.1], [0.4, 0.3, 0.3], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8],
                           [0.4, 0.3, 0.3], [0.9, 0.1, 0.0]])
    labels = torch.tensor([0, 0, 1, 2, -1, -1])
    for part in (slice(0, 4), slice(4, 6)):
        made.process(None, [dict(scores=scores[part], labels=labels[part])])
    metrics = made.evaluate(6)
    assert metrics['accuracy'] == 100
    assert metrics['open_accuracy'] == 75                       # image 1 is rejected
    assert (metrics['open_many'], metrics['open_medium'], metrics['open_few']) == (50, 100, 100)
    assert metrics['open_f'] == approx(2 * 1 * 0.75 / 1.75)     # P = 3 / 3, R = 3 / (3 + 1)
    record = build_record(made.record, name='ce_resnet32_x')
    assert not contradictions(record)
    assert record['overall']['images'] == 4
    assert record['open_set']['variant'] == 'paper'
    assert record['open_set']['f']['corrected']['f'] == approx(0.75)
    assert run_table(record).splitlines()[-1] == (
        'Open set, 2 unknown images, threshold 0.5: F 0.857 (paper), 0.750 (corrected), 0.750 '
        '(textbook); AUROC 43.75; with rejection many 50.00, medium 100.00, few 100.00')


def test_a_threshold_of_zero_rejects_nothing_and_of_one_nearly_everything():
    labels, answers, confidences = predictions()
    counts = [9, 8, 7, 6, 5, 4]
    nothing = measure_open_set(labels, answers, confidences, 0.0, counts)
    assert nothing['rejected'] == dict(known=0, unknown=0)
    assert nothing['f']['paper'] == nothing['f']['corrected']
    everything = measure_open_set(labels, answers, confidences.clamp(max=0.99), 1.0, counts)
    assert everything['f']['textbook']['f'] == 0


def test_bins_and_rule_reach_the_scores_of_both_kinds():
    made = OpenSetAccuracy(rule=(40, 10), bins=7)
    made.dataset_meta = dict(classes=list('abc'), train_class_counts=[500, 50, 15])
    made.process(None, [dict(scores=torch.eye(4)[:, :3].clamp(min=0.01),
                             labels=torch.tensor([0, 1, 2, -1]))])
    assert not {'few', 'open_few'} & set(made.evaluate(4))
    calibration = made.record['calibration']
    assert calibration['bins'] == len(calibration['overall']['bins']) == 7


def test_without_an_unknown_image_the_metric_says_so():
    made = OpenSetAccuracy()
    made.dataset_meta = META
    made.process(None, [dict(scores=torch.eye(3), labels=torch.arange(3))])
    with pytest.warns(UserWarning, match='no image of an unknown class'):
        assert 'auroc' not in made.evaluate(3)


@pytest.mark.parametrize(('options', 'message'), [
    (dict(threshold=2), 'threshold=2'), (dict(variant='macro'), "variant='macro'")])
def test_what_the_metric_cannot_do_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        OpenSetAccuracy(**options)


def digits(split, **options):
    return dict(type='OpenSet', known=dict(type='DigitsLT', split=split, **options))


def test_held_out_classes_leave_the_training_set_and_are_unknown_in_the_test_set():
    train = DATASETS.build(dict(digits('train', imbalance=50), held_out=['3', 7]))
    whole = DATASETS.build(digits('train', imbalance=50)['known'])
    kept = [0, 1, 2, 4, 5, 6, 8, 9]
    assert train.metainfo['classes'] == [str(c) for c in kept]
    assert train.class_counts == [whole.class_counts[c] for c in kept]
    assert np.bincount(train.labels).tolist() == train.class_counts
    test = DATASETS.build(dict(digits('test'), held_out=['3', 7]))
    assert test.metainfo['classes'] == train.metainfo['classes']
    assert len(test) == 500
    assert (test.labels == -1).sum() == 100
    table = {c: kept.index(c) if c in kept else -1 for c in range(10)}
    for index in (0, 123, -1):
        sample, plain = test[index], test.known[range(500)[index]]
        assert sample['labels'] == table[plain['labels']] == test.labels[index]
        assert sample['inputs'].equal(plain['inputs'])
    last = train[len(train) - 1]
    assert last['inputs'].equal(train.known[train.places[-1]]['inputs'])
    assert train.fingerprint != test.fingerprint


def test_a_split_of_the_known_images_serves_sample_weights():
    config = dict(type='OpenSet', known=dict(type='DigitsLT', split='train', held_out=3),
                  held_out=[9])
    train = DATASETS.build(config)
    loader = DataLoader(train, batch_size=4, collate_fn=collate_batch)
    labels = next(DevBatches(loader, config, batch_size=27).epoch(0))['labels']
    assert torch.equal(labels.bincount(), torch.full((9,), 3))
    assert not np.isin(DATASETS.build(dict(config, split='dev')).members, train.members).any()


def test_another_data_set_is_unknown_as_a_whole():
    stranger = dict(type='RandomImages', num_classes=2, num_images=30, size=8, channels=1,
                    split='test')
    test = DATASETS.build(dict(digits('test'), unknown=stranger))
    assert len(test) == 530
    assert test.labels[500:].tolist() == [-1] * 30
    assert test.class_counts == [50] * 10
    sample = test[529]
    assert sample['labels'] == -1
    assert sample['inputs'].equal(test.unknown[29]['inputs'])
    with pytest.raises(DataError, match='belong in a test set'):
        DATASETS.build(dict(digits('train'), unknown=stranger))


@pytest.mark.parametrize(('held_out', 'message'), [
    ((), 'needs unknown classes'), (['ten'], "'ten', which is no class"), ([10], '10, which is no'),
    (range(9), 'at least two')], ids=['none', 'name', 'number', 'too many'])
def test_held_out_classes_must_exist_and_leave_some(held_out, message):
    with pytest.raises(DataError, match=message):
        DATASETS.build(dict(digits('test'), held_out=list(held_out)))


def test_folder_bad_images_and_fingerprint_are_those_of_both_data_sets(tmp_path):
    for part in ('known', 'strange', 'one', 'two'):
        for name in 'ab':
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(4):
                image = Image.new('RGB', (4, 4), (number, 0, 0))
                image.save(tmp_path / part / name / f'{part}{number}.png')
    for part in ('known', 'strange'):
        (tmp_path / part / 'b' / 'bad.png').write_text('no image')

    def build(stranger):
        def folder(root):
            return dict(type='FolderLT', root=root, split='test', test_per_class=2)
        return DATASETS.build(dict(type='OpenSet', known=folder('nowhere'),
                                   unknown=folder(str(tmp_path / stranger)),
                                   root=str(tmp_path / 'known'), skip_bad_images=True))

    with pytest.warns(UserWarning, match='goes on without'):
        strange, one, two = map(build, ('strange', 'one', 'two'))
    assert strange.skipped == ['b/bad.png (not an image)'] * 2
    assert one.skipped == two.skipped == strange.skipped[:1]
    assert one.labels.tolist() == two.labels.tolist() and one.fingerprint != two.fingerprint
