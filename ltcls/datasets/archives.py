"""Laying out a data set from the archives and lists it is published in."""

import os
import re
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Iterator, NamedTuple

from .base import DataError
from .image_list import ImageNetLT, PlacesLT
from .paths import read_list

COUNTED = 10_000      # files between two lines of progress
BROKEN = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, OSError)


class Source(NamedTuple):
    """What a published file is, by its name, and where its content belongs.

    Args:
        pattern: of the whole file name.
        home: folder of the data set below data/, as in the shipped configs.
        into: folder below it for the content.
        strip: leading folders of the members that are dropped; None drops all of them.
        nested: an archive of archives, each with the files of the class that it is named after.
    """

    pattern: str
    home: str
    into: str = ''
    strip: int | None = 0
    nested: bool = False


ARCHIVES = (
    Source(r'ILSVRC2012_img_train\.tar', 'imagenet', into='train', nested=True),
    Source(r'ILSVRC2012_img_val\.tar', 'imagenet', into='val', strip=None),
    Source(r'places365standard_easyformat\.tar', 'places', strip=1),
    Source(r'train_(256|large)_places365standard\.tar', 'places'),
    Source(r'val_(256|large)\.tar', 'places'),
    Source(r'train_val2018\.tar\.gz', 'inat2018'),
    Source(r'(train|val)2018\.json\.tar\.gz', 'inat2018', strip=None),
    Source(r'train_val_images\.tar\.gz', 'inat2017'),
    Source(r'train_val2017\.zip', 'inat2017', strip=None),
    Source(r'cifar-10-python\.tar\.gz', 'cifar10'),
    Source(r'cifar-100-python\.tar\.gz', 'cifar100'),
)
# Files and folders that need no unpacking: a link is enough.
LINKED = (
    Source(r'ImageNet_LT_(train|val|test)\.txt(\.gz)?', 'imagenet'),
    Source(r'Places_LT_(train|val|test)\.txt(\.gz)?', 'places'),
    Source(r'iNaturalist18_(train|val)\.txt(\.gz)?', 'inat2018'),
    Source(r'(train|val)2018\.json', 'inat2018'),
    Source(r'(train|val)2017\.json', 'inat2017'),
    Source(r'(data|val)_(256|large)', 'places'),
    Source(r'train_val2018', 'inat2018'),
    Source(r'train_val_images', 'inat2017'),
)
LISTED = {'imagenet': ImageNetLT, 'places': PlacesLT}


def lay_out(paths: list[Path], root: Path | None = None, everything: bool = False) -> None:
    """Unpack archives, and link lists and folders, where the shipped configs look for them.

    Where the lists of ImageNet-LT or Places-LT are there, or among `paths`, only the images that
    they name are unpacked. A file that is there in full is kept, so that an interrupted call can be
    repeated.

    Args:
        paths: archives, lists, annotation files or folders under their published names.
        root: folder for all of them; data/imagenet and so on by default.
        everything: unpack also the images that no list names.

    Raises:
        DataError: a file that is absent, unknown or damaged, or another file in its place.
    """
    known = [(path, *_recognise(path)) for path in paths]
    for path, source, linked in sorted(known, key=lambda item: not item[2]):     # lists first
        folder = root or Path('data') / source.home
        if linked:
            _link(path, folder / path.name)
            continue
        wanted = None if everything else _wanted(source.home, folder)
        try:
            written, kept = _unpack(path, source, folder, wanted)
        except BROKEN as error:
            if getattr(error, 'filename', None) is not None:      # the disk's error
                raise
            raise DataError(f'{path} is damaged or cut off ({error}). Fetch it anew and repeat the '
                            'command; what was unpacked is kept.') from None
        chosen = '' if wanted is None else ', those that the lists name'
        print(f'{path.name}: {written:,} files into {folder}, {kept:,} were there{chosen}')


def _unpack(path: Path, source: Source, folder: Path, wanted: set[str] | None) -> tuple[int, int]:
    """Write the wanted files of an archive; how many were written, and how many were there."""
    written = kept = 0
    for target, file, size in _members(path, source):
        if wanted is not None and target not in wanted:
            continue
        if _write(folder / target, file, size):
            written += 1
        else:
            kept += 1
        if (written + kept) % COUNTED == 0:
            print(f'{path.name}: {written + kept:,} files ...')
    return written, kept


def _recognise(path: Path) -> tuple[Source, bool]:
    """What a path is, and whether a link to it is enough."""
    if not path.exists():
        raise DataError(f'{path} does not exist.')
    for sources, linked in ((ARCHIVES, False), (LINKED, True)):
        for source in sources:
            if re.fullmatch(source.pattern, path.name):
                return source, linked
    patterns = [source.pattern.replace('\\', '') for source in (*ARCHIVES, *LINKED)]
    raise DataError(f"{path.name} is not the name of a published file; these are known: "
                    f"{', '.join(patterns)}. Give it the name it was published under.")


def _link(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() or target.is_symlink():
        if target.resolve() == path.resolve():
            print(f'{target}: was there')
            return
        raise DataError(f'{target} exists and is not {path}. Remove it, or choose another folder '
                        'with --root.')
    target.symlink_to(path.resolve(), target_is_directory=path.is_dir())
    print(f'{target}: linked to {path.resolve()}')


def _wanted(home: str, folder: Path) -> set[str] | None:
    """Paths below the folder, in every layout, that the lists of it name; None without lists."""
    cls = LISTED.get(home)
    if cls is None:
        return None
    # In both folders, as the data sets look for them.
    lists = [path for place in (folder, folder / 'lists')
             for path in sorted(place.glob(f'{cls.prefix}_*.txt*'))
             if re.fullmatch(rf'{cls.prefix}_(train|val|test)\.txt(\.gz)?', path.name)]
    if not lists:
        return None
    listed = [os.fsdecode(name) for path in lists
              for name in read_list(str(path), cls.num_classes)[0]]
    return {convert(name) for convert in cls.layouts.values() for name in listed}


def _members(path: Path, source: Source) -> Iterator[tuple[str, IO[bytes], int]]:
    """Path below the data set's folder, content and size of every file in an archive."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    yield (_target(member.filename, source, source.into), archive.open(member),
                           member.file_size)
        return
    with tarfile.open(path, 'r|*') as archive:
        for member in archive:
            if not member.isfile():
                continue
            file = archive.extractfile(member)
            if not source.nested:
                yield _target(member.name, source, source.into), file, member.size
                continue
            folder = f'{source.into}/{PurePosixPath(member.name).stem}'
            with tarfile.open(fileobj=file, mode='r|') as inner:
                for part in inner:
                    if part.isfile():
                        yield (_target(part.name, source, folder), inner.extractfile(part),
                               part.size)


def _target(name: str, source: Source, into: str) -> str:
    """Where a member goes, relative to the data set's folder."""
    parts = PurePosixPath(name).parts
    if '..' in parts or name.startswith('/'):
        raise DataError(f"An archive holds the path '{name}', which leads out of its folder. It is "
                        'not the published one.')
    kept = parts[-1:] if source.strip is None else parts[source.strip:]
    return '/'.join([*(into.split('/') if into else ()), *kept])


def _write(target: Path, file: IO[bytes], size: int) -> bool:
    """Write a member unless it is there in full; whether it was written."""
    if target.is_file() and target.stat().st_size == size:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f'.{target.name}.part')
    try:
        with open(temporary, 'wb') as out:
            shutil.copyfileobj(file, out, 2 ** 20)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return True
