import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from ltcls.datasets import DataError, DigitsLT
from ltcls.registry import DATASETS


def test_training_pool_and_test_set_make_up_all_digits():
    train, test = DigitsLT(split='train'), DigitsLT(split='test')
    assert (len(train), len(test)) == (1297, 500)
    assert test.class_counts == [50] * 10
    assert sorted([*train.positions, *test.positions]) == list(range(1797))


def test_the_test_digits_are_these():
    assert DigitsLT(split='test').positions[:5].tolist() == [3, 7, 13, 16, 19]


@pytest.mark.parametrize('selection', ['ldam', 'mwn'])
def test_the_selection_seed_chooses_the_images(selection):
    one, other = (DigitsLT(imbalance=10, selection=selection, selection_seed=seed)
                  for seed in (0, 1))
    assert one.class_counts == other.class_counts
    assert set(one.positions) != set(other.positions)


def test_pixels_are_those_of_scikit_learn_on_a_scale_to_255():
    source = load_digits()
    data = DigitsLT(split='train', imbalance=10)
    assert data.images.shape == (len(data), 1, 8, 8)
    expected = np.rint(source.images[data.positions] / 16 * 255)
    assert (data.images[:, 0].numpy() == expected).all()
    assert (data.labels == source.target[data.positions]).all()


def test_the_tail_has_the_exact_profile_and_the_test_set_stays_balanced():
    counts = DigitsLT(split='train', imbalance=20).class_counts
    # 128 zeros are left for training, and 20 ** (-c / 9) of them in class c.
    assert counts == [int(128 * 20 ** (-c / 9)) for c in range(10)]
    assert DigitsLT(split='test', imbalance=20).class_counts == [50] * 10


@pytest.mark.parametrize('imbalance', [None, 20])
@pytest.mark.parametrize('selection', ['ldam', 'mwn', 'first'])
def test_held_out_images_are_balanced_and_never_trained_on(imbalance, selection):
    arguments = dict(imbalance=imbalance, selection=selection, held_out=5)
    train, dev = DigitsLT(split='train', **arguments), DigitsLT(split='dev', **arguments)
    assert dev.class_counts == [5] * 10
    assert not set(train.positions) & set(dev.positions)
    assert not set(dev.positions) & set(DigitsLT(split='test').positions)
    assert train.class_counts[0] <= 123


def test_a_batch_equals_the_samples_one_by_one():
    data = DigitsLT(imbalance=10)
    chosen = [7, 0, 300, 7]
    batch, samples = data.__getitems__(chosen), [data[i] for i in chosen]
    assert torch.equal(batch['inputs'], torch.stack([sample['inputs'] for sample in samples]))
    assert batch['labels'].tolist() == [sample['labels'] for sample in samples]
    assert (batch['inputs'].dtype, batch['labels'].dtype) == (torch.uint8, torch.int64)


def test_a_pipeline_takes_the_images_one_by_one():
    data = DigitsLT(pipeline=[dict(type='RandomHorizontalFlip', p=1.0)])
    assert data.__getitems__ is None
    assert torch.equal(data[3]['inputs'], DigitsLT()[3]['inputs'].flip(-1))


def test_metainfo_holds_plain_lists():
    meta = DigitsLT(imbalance=10).metainfo
    assert [type(value) for value in meta.values()] == [list, list]
    assert type(meta['class_counts'][0]) is int
    assert meta['classes'] == [str(digit) for digit in range(10)]


def test_the_fingerprint_tells_selection_seed_factor_and_split_apart():
    variants = [dict(), dict(imbalance=10), dict(imbalance=20),
                dict(imbalance=10, selection_seed=1), dict(imbalance=10, selection='mwn'),
                dict(split='test'),
                dict(split='dev', held_out=5), dict(held_out=5),
                dict(imbalance=10, classes=list('abcdefghij'))]
    prints = [DigitsLT(**variant).fingerprint for variant in variants]
    assert len(set(prints)) == len(variants)
    assert DigitsLT(imbalance=10).fingerprint == prints[1]
    assert DigitsLT(imbalance=1).fingerprint == prints[0]
    assert DigitsLT(imbalance=10, pipeline=[dict(type='Resize', size=16)]).fingerprint == prints[1]


def test_the_registry_builds_it_by_name():
    data = DATASETS.build(dict(type='DigitsLT', split='train', imbalance=50, profile='pareto'))
    assert data.class_counts[0] == 128
    assert data.class_counts[-1] == 2


@pytest.mark.parametrize('arguments, message', [
    (dict(split='val'), "no split 'val'; it has train, test, dev"),
    (dict(imbalance=0.01), 'imbalance=0.01.*at least 1, here perhaps 100'),
    (dict(imbalance=500), 'without images.*must not exceed 1'),
    (dict(profile='zipf'), "profile='zipf'; known: exponential, pareto, step, as-is"),
    (dict(profile='as-is', imbalance=10), "profile='as-is' and imbalance=10; drop one"),
    (dict(selection='random'), "selection='random'; known: ldam"),
    (dict(selection_seed=None), 'selection_seed=None; give an integer'),
    (dict(split='dev'), 'say how many images a class are held out'),
    (dict(held_out=500), "held_out=500 takes all 128 images of class '0'"),
    (dict(classes=['a', 'b']), '10 classes; classes= names 2'),
])
def test_a_wrong_argument_is_one_line_with_its_remedy(arguments, message):
    with pytest.raises(DataError, match=message) as caught:
        DigitsLT(**arguments)
    assert '\n' not in str(caught.value)
