"""Whether a checkpoint is used with the classes and the images that it was trained with."""

from pathlib import Path

from ltcls.datasets.overlap import renamed


def check_classes(source: str | Path, meta: dict, dataset, key: str) -> None:
    """Refuse class names in another order than the checkpoint's labels have.

    Args:
        source: of the checkpoint, for the message.
        meta: of the checkpoint; one without names is not compared.
        dataset: what is to be used with it.
        key: of the data set in the config, such as 'test_dataloader'.

    Raises:
        ValueError: the first class that has another name.
    """
    names = (meta.get('dataset_meta') or {}).get('classes') or ()
    found = renamed(names, dataset.metainfo['classes'])
    if found:
        label, one, other = found
        raise ValueError(f"Class {label} was '{one}' when {source} was trained, and is '{other}' "
                         f'in {key}.dataset: restore the classes and their order (classes=...).')


def check_images(source: str | Path, meta: dict, dataset, folder: str | Path) -> None:
    """Refuse another training set than the checkpoint's, which lies in `folder`.

    Raises:
        ValueError: the fingerprints differ.
    """
    before, now = fingerprint_of(meta, 'train'), dataset.fingerprint
    if before not in (None, now):
        raise ValueError(f'{source} was trained on other images (data {before[:12]}) than '
                         f'train_dataloader.dataset holds now (data {now[:12]}): restore them, or '
                         f'{begin_anew(folder)}.')


def begin_anew(folder: str | Path) -> str:
    """What to do about a run that does not fit, whether it is the last stage or an earlier one."""
    return (f'remove {folder}, or choose a --work-dir in another folder than '
            f'{Path(folder).parent} (earlier stages lie beside it)')


def other_test_images(source: str | Path, meta: dict, dataset) -> list[str]:
    """A line where the images for testing are not those of the run that wrote the checkpoint."""
    before, now = fingerprint_of(meta, 'test'), dataset.fingerprint
    if before in (None, now):
        return []
    return [f'warning: {source} was trained beside other test images (data {before[:12]}) than '
            f'test_dataloader.dataset holds now (data {now[:12]}): make sure that none of these '
            'were trained on']


def fingerprint_of(meta: dict, part: str) -> str | None:
    """Of the 'train' or 'test' images of a checkpoint or a record; None where it holds none."""
    return (meta.get('fingerprints') or {}).get(part)
