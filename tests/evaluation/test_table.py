import torch

from ltcls.evaluation.record import build_record
from ltcls.evaluation.scores import measure
from ltcls.evaluation.table import (class_table, comparison_table, experiments, run_table,
                                    scores_table, spread)

COUNTS = [500, 50, 5]


def record(name='ce_resnet32_cifar10', seed=0, right=(4, 3, 2), counts=COUNTS, rule='counts',
           **fields):
    """Five test images a class, `right` of them right; the others are taken for class 0 or 1."""
    num_classes = len(counts)
    labels = torch.arange(num_classes).repeat_interleave(5)
    correct = torch.cat([torch.arange(5) < n for n in right])
    predictions = torch.where(correct, labels, (labels == 0).long())
    scores = measure(labels, predictions, torch.full((len(labels),), 0.6), None,
                     classes=[f'class{c}' for c in range(num_classes)], class_counts=counts,
                     rule=rule)
    return build_record(scores, name=name, seed=seed, **fields)


def cells(table):
    """The rows of a terminal or markdown table."""
    return [[cell.strip() for cell in line.strip('|').split('|')]
            for line in table.splitlines() if line.startswith('|') and '--' not in line]


def test_one_run_shows_overall_groups_and_the_two_rarest():
    rows = {row[0]: row for row in cells(scores_table(record()))}
    assert rows['overall'][1:5] == ['3', '15', '60.00', '0.00']      # 9 of 15, confidence 0.6
    assert rows['many'][1:5] == ['1', '5', '80.00', '20.00']
    assert rows['few'][3:] == ['40.00', '20.00', 'fewer than 20 training images']
    assert rows['two rarest'][3:] == ['50.00', '', 'class2, class1']
    assert rows['balanced'][3] == '60.00'


def test_an_empty_group_is_a_dash():
    rows = {row[0]: row for row in cells(scores_table(record(counts=[500, 400, 300])))}
    assert rows['few'][1:5] == ['0', '0', '-', '-']


def test_classes_come_with_their_wilson_intervals():
    assert cells(class_table(record()))[1] == [
        'class0', 'many', '500', '4', '5', '80.00', '37.55 to 96.38']


def test_many_classes_are_cut_to_the_best_and_the_worst():
    right = [5] * 6 + [3] * 9 + [0] * 6
    table = class_table(record(right=right, counts=[50] * 21))
    rows = cells(table)[1:]
    assert [row[5] for row in rows] == ['100.00'] * 5 + ['0.00'] * 5
    assert table.endswith('The 5 best and the 5 worst of 21 classes.')
    assert len(cells(class_table(record(right=right[:20], counts=[50] * 20)))) == 21


def test_the_best_epoch_is_named_beside_the_result_and_not_in_its_place():
    text = run_table(record(epoch=30, best=dict(epoch=20, accuracy=65.0)))
    assert text.splitlines()[0] == (
        'ce_resnet32_cifar10, seed 0, epoch 30, best on the test set 65.00 at epoch 20')
    assert 'selected' not in text
    assert 'selected on the test set' in run_table(record(selected_on_test=True))


def test_runs_are_compared_line_by_line():
    runs = [record(), record('gcl-crt_resnet32_cifar10', seed=3, right=(3, 3, 3))]
    rows = cells(comparison_table(runs))
    assert rows == cells(comparison_table(runs, markdown=True))
    assert rows == [
        ['method', 'seed', 'overall', 'many', 'medium', 'few', 'balanced', 'ece', 'two rarest'],
        ['ce', '0', '60.00', '80.00', '60.00', '40.00', '60.00', '0.00', '50.00'],
        ['gcl-crt', '3', '60.00', '60.00', '60.00', '60.00', '60.00', '0.00', '60.00'],
    ]


def test_seeds_of_a_method_are_averaged_with_their_standard_deviation():
    runs = [record(seed=0, right=(4, 3, 2)), record(seed=1, right=(5, 3, 2))]
    row = cells(comparison_table(runs, average=True))[1]
    # many is 80 and 100: mean 90, sample standard deviation sqrt(200) = 14.14
    assert row[:4] == ['ce', '2', '63.33 ± 4.71', '90.00 ± 14.14']
    assert row[5] == '40.00 ± 0.00'
    assert cells(comparison_table(runs[:1], average=True))[1][2] == '60.00'


def test_other_backbones_are_told_apart_by_the_full_name():
    runs = [record(), record('ce_resnet56_cifar10')]
    assert [row[0] for row in cells(comparison_table(runs))[1:]] == [
        'ce_resnet32_cifar10', 'ce_resnet56_cifar10']


def test_what_cannot_be_compared_is_said_below_the_table():
    assert 'Note' not in comparison_table([record(), record()])
    assert 'different class counts' in comparison_table([record(), record(counts=[400, 50, 5])])
    assert 'different classes' in comparison_table(
        [record(), record(counts=[500, 5], right=(4, 2))])
    assert 'defined differently' in comparison_table([record(), record(rule='oltr')])
    assert 'fingerprints differ' in comparison_table(
        [record(fingerprints=dict(train='a')), record(fingerprints=dict(train='b'))])
    assert 'fingerprints differ' in comparison_table(
        [record(fingerprints=dict(train='a', test='t')),
         record(fingerprints=dict(train='a', test='u'))])
    assert 'Note' not in comparison_table(
        [record(fingerprints=dict(train='a', test='t')), record(fingerprints=dict(test='t'))])
    assert 'selected on the test set in ce_resnet32_cifar10 (seed 0)' in comparison_table(
        [record(selected_on_test=True), record()])


def test_only_seeds_of_one_config_on_the_same_images_are_averaged():
    def run(lr=0.1, seed=0, train='a', root='here'):
        return record(seed=seed, fingerprints=dict(train=train), config=dict(
            lr=lr, randomness=dict(seed=seed), train_dataloader=dict(dataset=dict(root=root))))

    first, second = run(), run(seed=1, root='elsewhere')
    steep, other, again, once_more = run(lr=0.5), run(train='b'), run(), run()
    assert experiments([first, second]) == dict(ce=[first, second])
    runs = [first, second, steep, other, again, once_more]
    assert experiments(runs) == {'ce (1)': [first, second], 'ce (2)': [steep], 'ce (3)': [other],
                                 'ce (4)': [again], 'ce (5)': [once_more]}
    assert [row[:2] for row in cells(comparison_table([first, second, steep], average=True))[1:]
            ] == [['ce (1)', '2'], ['ce (2)', '1']]


def test_seeds_give_mean_and_sample_deviation():
    assert spread([70.0, 72.0]) == '71.00 ± 1.41' and spread([70.0]) == '70.00'
    assert spread([70.0, None]) == spread([]) == '-' and spread([None], missing='') == ''
