import json

import pytest
import torch
from pytest import approx
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from ltcls.evaluation.scores import describe_rule, flat_metrics, measure
from ltcls.longtail import exponential_counts

# Class 0 is many, 1 and 2 are medium (20 and 100 belong to it), 3 is few.
COUNTS = [500, 100, 20, 5]
NAMES = ['ant', 'bee', 'cat', 'dog']
LABELS = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 3, 3])
PREDICTIONS = torch.tensor([0, 0, 0, 1, 1, 0, 2, 2, 3, 0])
CONFIDENCES = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.9, 0.5, 1.0, 0.8, 0.4, 0.9])


def measured(labels=LABELS, predictions=PREDICTIONS, confidences=CONFIDENCES, in_top={},
             classes=NAMES, class_counts=COUNTS, **options):
    return measure(labels, predictions, confidences, in_top, classes=classes,
                   class_counts=class_counts, **options)


def random_predictions(num_classes, images, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(num_classes, (images,), generator=generator)
    wrong = torch.rand(images, generator=generator) < 0.4
    guesses = torch.randint(num_classes, (images,), generator=generator)
    return labels, torch.where(wrong, guesses, labels), torch.rand(images, generator=generator)


def test_groups_are_means_of_their_classes():
    scores = measured()
    assert scores['overall']['accuracy'] == approx(70)          # 7 of 10
    assert scores['groups']['many']['accuracy'] == approx(75)
    assert scores['groups']['medium'] == dict(
        classes=2, images=4, correct=3, accuracy=approx((50 + 100) / 2))
    assert scores['groups']['few']['accuracy'] == approx(50)
    assert scores['balanced_accuracy'] == approx((75 + 50 + 100 + 50) / 4)


def test_a_group_is_a_mean_over_classes_and_not_over_images():
    labels = torch.tensor([0, 0, 0, 1])
    scores = measured(labels, torch.tensor([0, 0, 0, 0]), torch.full((4,), 0.5),
                      classes=['a', 'b'], class_counts=[500, 400])
    assert scores['overall']['accuracy'] == 75
    assert scores['groups']['many']['accuracy'] == 50


def test_the_two_rarest_classes_come_rarest_first():
    rarest = measured()['rarest']
    assert rarest == dict(classes=[3, 2], names=['dog', 'cat'], accuracies=[50, 100], accuracy=75)


def test_of_equally_rare_classes_the_later_ones_are_the_rarest():
    labels = torch.arange(4)
    scores = measured(labels, labels, torch.full((4,), 0.5), class_counts=[9, 5, 5, 5])
    assert scores['rarest']['classes'] == [3, 2]


def test_an_empty_group_is_absent_and_never_zero():
    scores = measured(class_counts=[500, 400, 300, 5])
    assert list(scores['groups']) == ['many', 'few']
    assert 'medium' not in flat_metrics(scores)
    assert 'medium' not in scores['calibration']['groups']


def test_a_class_without_test_images_enters_no_mean():
    scores = measured(LABELS[:8], PREDICTIONS[:8], CONFIDENCES[:8])
    assert scores['per_class'][3]['accuracy'] is None
    assert scores['per_class'][3]['low'] is None
    assert scores['groups']['few'] == dict(classes=1, images=0, correct=0, accuracy=None)
    assert scores['balanced_accuracy'] == approx((75 + 50 + 100) / 3)
    assert scores['rarest']['classes'] == [2, 1]
    assert 'few' not in flat_metrics(scores)


def test_balanced_accuracy_and_confusion_equal_scikit_learn():
    labels, predictions, confidences = random_predictions(20, 2000)
    scores = measured(labels, predictions, confidences, classes=[str(c) for c in range(20)],
                      class_counts=exponential_counts(500, 20, 100))
    assert scores['balanced_accuracy'] == approx(100 * balanced_accuracy_score(labels, predictions))
    assert scores['confusion'] == confusion_matrix(labels, predictions).tolist()


def test_calibration_of_a_group_is_that_of_its_images():
    errors = measured(bins=1)['calibration']
    assert errors['overall']['ece'] == approx(100 * (7.5 - 7) / 10, abs=1e-4)
    assert errors['groups']['many']['ece'] == approx(100 * (3.0 - 3) / 4, abs=1e-4)
    assert errors['groups']['few']['ece'] == approx(100 * (1.3 - 1) / 2, abs=1e-4)
    assert sum(group['images'] for group in errors['groups'].values()) == 10


def test_intervals_hold_the_accuracy():
    for row in measured()['per_class']:
        assert 0 <= row['low'] <= row['accuracy'] <= row['high'] <= 100
    assert measured()['per_class'][2]['high'] == 100


def test_another_rule_moves_the_borders_and_says_so():
    scores = measured(rule='oltr')
    assert [row['group'] for row in scores['per_class']] == ['many', 'many', 'few', 'few']
    assert scores['group_rule'] == dict(
        name='oltr', many='more than 99 training images', medium='21 to 99 training images',
        few='fewer than 21 training images')
    assert describe_rule((50, 10), 4)['many'] == 'more than 50 training images'
    assert describe_rule('index-gnm', 100)['medium'] == 'classes 36 to 70'


def test_permuting_the_images_changes_nothing():
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    shuffled = measured(LABELS[order], PREDICTIONS[order], CONFIDENCES[order])
    assert flat_metrics(shuffled) == approx(flat_metrics(measured()))
    assert shuffled['per_class'] == measured()['per_class']


def test_the_scores_are_plain_json():
    scores = measured()
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


def test_more_than_a_thousand_classes_keep_no_confusion_matrix():
    labels = torch.arange(1001)
    scores = measured(labels, labels, torch.ones(1001), classes=[str(c) for c in range(1001)],
                      class_counts=[5] * 1001)
    assert scores['confusion'] is None
    assert scores['groups']['few']['accuracy'] == 100


def test_scores_that_are_not_numbers_say_that_training_diverged():
    broken = CONFIDENCES.clone()
    broken[3] = float('nan')
    with pytest.raises(ValueError, match='1 of 10 test images are not finite'):
        measured(confidences=broken)


def test_labels_outside_the_classes_are_named():
    with pytest.raises(ValueError, match='label of 4 is outside the 4 classes 0 to 3'):
        measured(labels=LABELS.clone().index_fill_(0, torch.tensor([2]), 4))
    with pytest.raises(ValueError, match='4 classes, the training counts have 3'):
        measured(class_counts=[1, 2, 3])
