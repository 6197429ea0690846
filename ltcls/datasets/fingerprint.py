"""Which data this is, as one number that two machines can compare."""

import hashlib
from typing import Iterable, Sequence


def fingerprint(classes: Sequence[str], rule: str, labels: Iterable[int],
                identities: Iterable[str]) -> str:
    """SHA-256, in hex, over class names, selection rule and the labelled identities of the images.

    It does not depend on the order of the images, on where they lie or on how they are kept. It
    does not read pixels: files that keep their names keep the fingerprint.

    Args:
        classes: names in label order, length C.
        rule: how the images were chosen, for example 'train ldam seed 0'.
        labels: one of 0 .. C - 1 an image.
        identities: a name an image that holds on every machine, for example 'cat/0001.jpg'.
    """
    digest = hashlib.sha256()
    for part in (*classes, '', rule, ''):     # empty: no class and no rule has this name
        digest.update(part.encode('utf-8', 'surrogateescape') + b'\0')
    for line in sorted(f'{identity}\0{label}' for label, identity in zip(labels, identities)):
        digest.update(line.encode('utf-8', 'surrogateescape') + b'\n')
    return digest.hexdigest()
