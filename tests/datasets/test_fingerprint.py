import hashlib

from ltcls.datasets.fingerprint import fingerprint

CLASSES = ['cat', 'dog']
NAMES = ['cat/1.jpg', 'dog/1.jpg', 'dog/2.jpg']


def test_it_is_the_sha256_of_classes_rule_and_labelled_names():
    text = b'cat\0dog\0\0train\0\0' + b'cat/1.jpg\x000\ndog/1.jpg\x001\ndog/2.jpg\x001\n'
    assert fingerprint(CLASSES, 'train', [0, 1, 1], NAMES) == hashlib.sha256(text).hexdigest()


def test_the_order_of_the_images_has_no_say():
    assert fingerprint(CLASSES, 'train', [0, 1, 1], NAMES) == fingerprint(
        CLASSES, 'train', [1, 1, 0], NAMES[::-1])


def test_a_name_a_label_a_class_or_the_rule_changes_it():
    prints = {
        fingerprint(CLASSES, 'train', [0, 1, 1], NAMES),
        fingerprint(CLASSES, 'train', [0, 1, 0], NAMES),
        fingerprint(CLASSES, 'train', [0, 1], NAMES[:2]),
        fingerprint(CLASSES, 'test', [0, 1, 1], NAMES),
        fingerprint(['cat', 'fox'], 'train', [0, 1, 1], NAMES),
        fingerprint(['catdog'], 'train', [0, 1, 1], NAMES),
        fingerprint(['cat'], 'dog', [0, 1, 1], NAMES),
    }
    assert len(prints) == 7


def test_names_that_are_not_utf8_are_hashed_too():
    assert len(fingerprint(['caf\udce9'], 'train', [0], ['caf\udce9/1.jpg'])) == 64
