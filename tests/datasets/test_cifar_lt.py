import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ltcls.datasets import CIFAR10LT, CIFAR100LT, DataError

NAMES = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck']
PER_CLASS = 20


@pytest.fixture
def release(tmp_path, monkeypatch):
    """A CIFAR-10 release in the official format: five files of 40 images, classes in turn."""
    monkeypatch.setattr('torchvision.datasets.cifar.check_integrity',
                        lambda path, md5=None: os.path.isfile(path))
    folder = tmp_path / 'cifar-10-batches-py'
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in ['data_batch_1', 'data_batch_2', 'data_batch_3', 'data_batch_4', 'data_batch_5',
                 'test_batch']:
        data = generator.integers(0, 256, (40, 3072), dtype=np.uint8)
        labels = [i % 10 for i in range(40)]
        (folder / name).write_bytes(pickle.dumps(dict(data=data, labels=labels)))
    (folder / 'batches.meta').write_bytes(pickle.dumps(dict(label_names=NAMES)))
    return tmp_path


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    """train/ and test/ with ten class folders of lossless images; pixel 0 is class, number, part."""
    root = tmp_path_factory.mktemp('tree')
    for part, per_class in [('train', PER_CLASS), ('test', 2)]:
        for label, name in enumerate(NAMES):
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(per_class):
                pixels = np.full((32, 32, 3), 9, dtype=np.uint8)
                pixels[0, 0] = (label, number, part == 'test')
                Image.fromarray(pixels).save(folder / f'{number:04d}.png')
    return root


def test_the_release_is_read_in_file_order_and_cut_by_the_default_rule(release):
    data = CIFAR10LT(root=str(release), imbalance=10)
    assert data.class_counts == [int(20 * 10 ** (-c / 9)) for c in range(10)]
    assert data.metainfo['classes'] == NAMES
    generator = np.random.RandomState(0)
    expected = []
    for label, n in enumerate(data.class_counts):
        index = np.arange(label, 200, 10)
        generator.shuffle(index)
        expected.extend(index[:n])
    assert data.positions.tolist() == expected
    raw = np.concatenate([
        pickle.loads((release / 'cifar-10-batches-py' / f'data_batch_{i}').read_bytes())['data']
        for i in range(1, 6)])
    assert (data.images.numpy() == raw[expected].reshape(-1, 3, 32, 32)).all()
    assert data.labels.tolist() == [position % 10 for position in expected]
    assert data.identities()[0] == f'train/{expected[0]}'


def test_the_release_has_its_own_test_set(release):
    data = CIFAR10LT(root=str(release), split='test', imbalance=10)
    assert data.class_counts == [4] * 10
    assert data.identities()[:2] == ['test/0', 'test/1']


def test_an_absent_release_names_the_path_and_the_remedy(tmp_path):
    with pytest.raises(DataError, match='CIFAR10 was not found in .*nowhere.*Unpack https://') as caught:
        CIFAR10LT(root=str(tmp_path / 'nowhere'), download=False)
    assert '\n' not in str(caught.value)


def test_a_failed_download_is_one_line_with_its_cause(tmp_path, monkeypatch):
    def unreachable(self):
        raise OSError('network is\nunreachable')

    monkeypatch.setattr('torchvision.datasets.CIFAR10.download', unreachable)
    with pytest.raises(DataError, match='download failed .network is unreachable') as caught:
        CIFAR10LT(root=str(tmp_path / 'nowhere'))
    assert '\n' not in str(caught.value)


def test_the_tree_has_alphabetical_classes_and_sorted_files(tree):
    data = CIFAR10LT(root=str(tree))
    assert data.metainfo == dict(classes=NAMES, class_counts=[PER_CLASS] * 10)
    assert data.images[:, 0, 0, 0].tolist() == data.labels.tolist() == np.repeat(
        np.arange(10), PER_CLASS).tolist()
    assert data.images[:, 1, 0, 0].tolist() == list(range(PER_CLASS)) * 10
    assert data.identities()[PER_CLASS] == 'automobile/0000.png'


def test_the_test_tree_stays_balanced(tree):
    data = CIFAR10LT(root=str(tree), split='test', imbalance=5)
    assert data.class_counts == [2] * 10
    assert (data.images[:, 2, 0, 0] == 1).all()


def test_tree_and_release_keep_the_same_ranks_of_each_class(tree, release):
    files, official = CIFAR10LT(root=str(tree), imbalance=10), CIFAR10LT(root=str(release), imbalance=10)
    assert (files.positions % PER_CLASS).tolist() == (official.positions // 10).tolist()


def test_held_out_images_leave_the_training_set(tree):
    train = CIFAR10LT(root=str(tree), imbalance=5, held_out=4)
    dev = CIFAR10LT(root=str(tree), split='dev', imbalance=5, held_out=4)
    assert dev.class_counts == [4] * 10
    assert train.class_counts == [int(16 * 5 ** (-c / 9)) for c in range(10)]
    assert not set(train.identities()) & set(dev.identities())


def test_the_fingerprint_does_not_know_where_the_tree_lies(tree, tmp_path):
    moved = tmp_path / 'elsewhere'
    moved.symlink_to(tree, target_is_directory=True)
    here, there = CIFAR10LT(root=str(tree), imbalance=5), CIFAR10LT(root=str(moved), imbalance=5)
    assert here.fingerprint == there.fingerprint
    assert here.fingerprint != CIFAR10LT(root=str(tree), imbalance=4).fingerprint


def test_a_tree_of_another_number_of_classes_is_refused(tree):
    with pytest.raises(DataError, match='CIFAR100LT has 100 classes, but .*train holds 10'):
        CIFAR100LT(root=str(tree))


def test_a_test_tree_that_lacks_a_class_is_refused(tmp_path):
    for name in NAMES:
        (tmp_path / 'train' / name).mkdir(parents=True)
    with pytest.raises(DataError, match="lacks the class folder 'airplane'"):
        CIFAR10LT(root=str(tmp_path), split='test')


# The real images.

def unpack(archive, target, wanted):
    folder = os.environ.get('LTCLS_TEST_DATA')
    if not folder:
        pytest.skip('LTCLS_TEST_DATA is not set: it names the folder of the real images')
    path = Path(folder) / archive
    if not path.is_file():
        pytest.skip(f'{path} does not exist')
    # By hand, because extractall also sets owner, mode and time of each of 60,000 files.
    folders = set()
    with tarfile.open(path) as tar:
        for member in tar:
            part, name, file = Path(member.name).parts[-3:] if member.isfile() else (None,) * 3
            if part not in ('train', 'test') or not wanted(part, file):
                continue
            folder = target / part / name
            if folder not in folders:
                folder.mkdir(parents=True)
                folders.add(folder)
            (folder / file).write_bytes(tar.extractfile(member).read())
    return str(target)


@pytest.fixture(scope='module')
def real_cifar10(tmp_path_factory):
    return unpack('cifar10_jpg.tar.gz', tmp_path_factory.mktemp('cifar10'),
                  lambda part, file: part == 'train' or file < '0100')


def test_real_cifar10_lt_has_the_published_counts_and_readable_images(real_cifar10):
    train = CIFAR10LT(root=real_cifar10, imbalance=100)
    assert (len(train), train.metainfo['classes']) == (12406, NAMES)
    assert train.class_counts == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert train.images.shape == (12406, 3, 32, 32)
    # The oracle of the selection: ranks inside the first and the last class.
    assert (train.positions[:5]).tolist() == [398, 3833, 4836, 4572, 636]
    assert (train.positions[-50:-45] - 45000).tolist() == [2204, 3816, 2206, 2507, 1926]
    # The mean pixel that everybody normalises with, over 1,000 of the test images.
    test = CIFAR10LT(root=real_cifar10, split='test')
    assert test.class_counts == [100] * 10
    mean = test.images.double().mean(dim=(0, 2, 3)) / 255
    assert torch.allclose(mean, torch.tensor([0.4914, 0.4822, 0.4465]).double(), atol=0.02)


def test_real_images_with_a_held_out_set(real_cifar10):
    dev = CIFAR10LT(root=real_cifar10, split='dev', held_out=10)
    train = CIFAR10LT(root=real_cifar10, imbalance=200, held_out=10)
    assert (len(dev), len(train)) == (100, 11177)
    assert not set(dev.identities()) & set(train.identities())


def test_a_hundred_real_classes_have_the_counts_of_cifar100_lt(tmp_path):
    root = unpack('tiny100_32_jpg.tar.gz', tmp_path, lambda part, file: part == 'train')
    train = CIFAR100LT(root=root, imbalance=100)
    assert (len(train), train.class_counts[0], train.class_counts[-1]) == (10847, 500, 5)
