import torch
from torch.utils.data import DataLoader

from ltcls.datasets import RandomImages, collate_batch
from ltcls.registry import DATASETS


def test_every_class_has_an_image_and_the_counts_fall():
    data = RandomImages(num_classes=10, size=32, num_images=64)
    counts = data.class_counts
    assert (len(data), min(counts)) == (64, 2)
    assert counts == sorted(counts, reverse=True)
    assert torch.from_numpy(data.labels).bincount().tolist() == counts


def test_more_classes_than_images_still_give_one_each():
    assert RandomImages(num_classes=100, num_images=16).class_counts == [1] * 100


def test_size_channels_and_names_are_those_asked_for():
    data = DATASETS.build(dict(type='RandomImages', num_classes=2, size=[8, 12], channels=1,
                               classes=['a', 'b'], split='test'))
    assert data[0]['inputs'].shape == (1, 8, 12)
    assert data.metainfo['classes'] == ['a', 'b']


def test_a_loader_gets_the_same_batch_whole_and_piece_by_piece():
    whole = DataLoader(RandomImages(num_classes=3), batch_size=5, collate_fn=collate_batch)
    pieces = DataLoader(RandomImages(num_classes=3, pipeline=[dict(type='Identity')]), batch_size=5,
                        collate_fn=collate_batch)
    for left, right in zip(whole, pieces, strict=True):
        assert torch.equal(left['inputs'], right['inputs'])
        assert torch.equal(left['labels'], right['labels'])
        assert left['labels'].dtype == right['labels'].dtype == torch.int64


def test_the_held_out_part_has_one_image_a_class():
    assert RandomImages(num_classes=4, split='dev').class_counts == [1] * 4
