import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ltcls.datasets import CIFAR10LT, CIFAR100LT, DataError, FolderLT

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
    """Ten class folders of lossless images each; their first pixel is class, number, part."""
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


@pytest.mark.parametrize('dataset, factor, held_out, total', [
    (CIFAR10LT, 200, 0, 11203), (CIFAR10LT, 100, 0, 12406), (CIFAR10LT, 100, 10, 12380),
    (CIFAR10LT, None, 10, 49900), (CIFAR100LT, 200, 0, 9502), (CIFAR100LT, 100, 0, 10847),
    (CIFAR100LT, 100, 10, 10626), (CIFAR100LT, None, 10, 49000),
])
def test_sets_of_full_size_have_the_published_totals(monkeypatch, dataset, factor, held_out, total):
    class Black:
        """50,000 images, one pixel in memory."""

        def __init__(self, root, train):
            self.classes = [f'{label:02d}' for label in range(dataset.num_classes)]
            self.data = np.broadcast_to(np.zeros(1, dtype=np.uint8), (50000, 32, 32, 3))
            self.targets = list(range(dataset.num_classes)) * (50000 // dataset.num_classes)

    monkeypatch.setattr(f'torchvision.datasets.{dataset.release}', Black)
    train = dataset(root='unused', imbalance=factor, held_out=held_out)
    assert (len(train), sum(train.class_counts)) == (total, total)
    assert train.images.shape == (total, 3, 32, 32)
    if held_out:
        dev = dataset(root='unused', split='dev', imbalance=factor, held_out=held_out)
        assert dev.class_counts == [10] * dataset.num_classes
        assert not set(dev.positions) & set(train.positions)


def test_an_absent_release_names_the_path_and_the_remedy(tmp_path):
    message = 'CIFAR10 was not found in .*nowhere.*Unpack https://'
    with pytest.raises(DataError, match=message) as caught:
        CIFAR10LT(root=str(tmp_path / 'nowhere'), download=False)
    assert '\n' not in str(caught.value)


def test_a_failed_download_is_one_line_with_its_cause(tmp_path, monkeypatch):
    def unreachable(self):
        Path(self.root).mkdir()          # as torchvision does first
        raise OSError('network is\nunreachable')

    monkeypatch.setattr('torchvision.datasets.CIFAR10.download', unreachable)
    with pytest.raises(DataError, match='download failed .network is unreachable') as caught:
        CIFAR10LT(root=str(tmp_path / 'nowhere'))
    assert '\n' not in str(caught.value)
    assert not (tmp_path / 'nowhere').exists()


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
    files = CIFAR10LT(root=str(tree), imbalance=10)
    official = CIFAR10LT(root=str(release), imbalance=10)
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
    """The first 500 training and 100 test images of every class."""
    return unpack('cifar10_jpg.tar.gz', tmp_path_factory.mktemp('cifar10'),
                  lambda part, file: file < ('0500' if part == 'train' else '0100'))


def test_real_images_are_cut_by_the_rule_and_read(real_cifar10):
    train = CIFAR10LT(root=real_cifar10, imbalance=100)
    assert train.metainfo == dict(classes=NAMES,
                                  class_counts=[500, 299, 179, 107, 64, 38, 23, 13, 8, 5])
    # The oracle of the selection for classes of 500: ranks inside the first and the second class.
    assert train.identities()[:3] == [f'airplane/{rank:04d}.jpg' for rank in (90, 254, 283)]
    assert train.identities()[500:503] == [f'automobile/{rank:04d}.jpg' for rank in (277, 307, 436)]
    # The mean pixel that everybody normalises with, over 1,000 of the test images.
    test = CIFAR10LT(root=real_cifar10, split='test')
    assert test.class_counts == [100] * 10
    mean = test.images.double().mean(dim=(0, 2, 3)) / 255
    assert torch.allclose(mean, torch.tensor([0.4914, 0.4822, 0.4465]).double(), atol=0.02)


def test_real_images_from_files_are_those_in_memory(real_cifar10):
    memory = CIFAR10LT(root=real_cifar10, imbalance=100)
    files = FolderLT(root=real_cifar10, imbalance=100)
    assert files.fingerprint == memory.fingerprint
    assert all(torch.equal(files[i]['inputs'], memory[i]['inputs']) for i in range(0, 1000, 97))


def test_a_tree_of_a_hundred_real_classes_stands_in_for_cifar100(tmp_path):
    root = unpack('tiny100_32_jpg.tar.gz', tmp_path,
                  lambda part, file: part == 'train' and file < '0010')
    train = CIFAR100LT(root=root, imbalance=10)
    assert train.class_counts == [int(10 * 10 ** (-c / 99)) for c in range(100)]
    assert train.images.shape == (len(train), 3, 32, 32)
