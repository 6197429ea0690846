"""Training images as they are, for hooks that measure something on them."""

import copy

from torch.utils.data import Dataset


def without_augmentation(dataset: Dataset, runner) -> Dataset:
    """Training images as validation sees them, or the test: through its pipeline."""
    loop = runner.val_loop or runner.test_loop
    plain = loop.dataloader.dataset
    return _through(getattr(getattr(plain, 'known', plain), 'pipeline', None), dataset)


def _through(pipeline, dataset: Dataset) -> Dataset:
    found = copy.copy(dataset)
    if hasattr(dataset, 'known'):           # an open set
        found.known = _through(pipeline, dataset.known)
    elif getattr(dataset, 'pipeline', None) is not None:
        found.pipeline = pipeline
    return found
