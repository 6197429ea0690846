"""File names of large data sets: read from lists, kept in one block of bytes, looked for."""

import codecs
import gzip
import os
import zlib
from typing import Iterable, Iterator

import numpy as np

from .base import DataError

NEWLINE, RETURN, SPACE, ZERO = b'\n\r 0'


class PathTable:
    """File names in one block of bytes: a name costs its own length and 16 bytes.

    An integer gives a name as bytes, an index array (integers or bool [N]) another table on the
    same block.

    Args:
        block: holds the names, with anything between them.
        starts, stops: where each name begins and ends in the block, int64 [N].
    """

    def __init__(self, block: bytes, starts: np.ndarray, stops: np.ndarray):
        self.block, self.starts, self.stops = block, starts, stops

    @classmethod
    def pack(cls, names: Iterable[str]) -> 'PathTable':
        """The table of some names."""
        parts = [os.fsencode(name) for name in names]
        stops = np.cumsum([len(part) for part in parts], dtype=np.int64)
        starts = np.concatenate([np.zeros(1, dtype=np.int64), stops[:-1]])[:len(parts)]
        return cls(b''.join(parts), starts, stops)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index):
        if isinstance(index, np.ndarray):
            return PathTable(self.block, self.starts[index], self.stops[index])
        return self.block[self.starts[index]:self.stops[index]]

    def __iter__(self) -> Iterator[bytes]:
        block = self.block
        for start, stop in zip(self.starts.tolist(), self.stops.tolist()):
            yield block[start:stop]


def read_list(path: str, num_classes: int) -> tuple[PathTable, np.ndarray]:
    """Paths and labels int64 [N] from the lines `path label` of a text file, or a .gz of one.

    Raises:
        DataError: an empty file; a line that is not a path, one space and a label of 0 .. C - 1,
            by its number.
    """
    block = read_bytes(path).removeprefix(codecs.BOM_UTF8)     # some editors of Windows set it
    codes = np.frombuffer(block, dtype=np.uint8)
    ends = np.flatnonzero(codes == NEWLINE)
    if len(block) and block[-1] != NEWLINE:
        ends = np.append(ends, len(block))
    if not len(ends):
        raise DataError(f'{path} is empty. Fetch it anew.')
    starts = np.concatenate([[0], ends[:-1] + 1])
    if RETURN in block:                     # a list that went through Windows
        ends = ends - (codes[np.maximum(ends - 1, 0)] == RETURN)
    spaces = np.flatnonzero(codes == SPACE)
    _refuse(path, block, starts, ends,
            np.searchsorted(spaces, ends) - np.searchsorted(spaces, starts) != 1,
            'is not a path, one space and a label')
    digits = ends - spaces - 1
    _refuse(path, block, starts, ends, (spaces == starts) | (digits < 1) | (digits > 9),
            'is not a path, one space and a label')
    labels = np.zeros(len(starts), dtype=np.int64)
    numbers = np.ones(len(starts), dtype=bool)
    for place in range(digits.max()):
        there = place < digits
        digit = codes[np.where(there, spaces + 1 + place, 0)].astype(np.int64) - ZERO
        numbers &= ~there | ((digit >= 0) & (digit <= 9))
        labels = np.where(there, 10 * labels + digit, labels)
    _refuse(path, block, starts, ends, ~numbers | (labels >= num_classes),
            f'has a label that is none of 0 to {num_classes - 1}')
    return PathTable(block, starts, spaces), labels


def read_bytes(path: str) -> bytes:
    """The content of a file, unpacked where its name ends in .gz."""
    try:
        with (gzip.open if path.endswith('.gz') else open)(path, 'rb') as file:
            return file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f'{path} is not a complete gzip file ({error}). Fetch it anew.') from None


def _refuse(path: str, block: bytes, starts: np.ndarray, ends: np.ndarray, wrong: np.ndarray,
            problem: str) -> None:
    """Name the first line whose entry in `wrong`, bool [N], is True."""
    if wrong.any():
        line = int(wrong.argmax())
        text = block[starts[line]:ends[line]][:100].decode(errors='replace')
        raise DataError(f"{path}, line {line + 1}: '{text}' {problem}. Fetch the list anew, or "
                        'use FolderLT with a CSV file for a list of your own.')


def find_absent(folder: str, names: Iterable[bytes]) -> np.ndarray:
    """Indices, ascending, of the files that are not below a folder.

    Lists every folder that is named once, and asks for no single file: half a million files take
    as long as their few thousand folders.
    """
    by_folder: dict[bytes, list[int]] = {}
    files: list[bytes] = []
    for index, name in enumerate(names):
        inside, _, file = name.rpartition(b'/')
        by_folder.setdefault(inside, []).append(index)
        files.append(file)
    absent: list[int] = []
    for inside, indices in by_folder.items():
        try:
            present = set(os.listdir(os.path.join(os.fsencode(folder), inside)))
        except (FileNotFoundError, NotADirectoryError):
            present = set()
        absent.extend(index for index in indices if files[index] not in present)
    return np.sort(np.asarray(absent, dtype=np.int64))
