"""Timing that a busy machine does not spoil: blocks in turn, and ratios of neighbours."""

import ctypes
import gc
import json
import re
import statistics
import time
from pathlib import Path
from typing import Callable

import torch

M_MMAP_THRESHOLD = -3      # of glibc's malloc.h


def timed(function: Callable[[], None]) -> tuple[float, float]:
    """Seconds on the wall and seconds of this process's processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


def interleaved(functions: dict[str, Callable[[], None]], rounds: int) -> dict[str, list]:
    """Times (wall, processor) of each function in each round, after one round of warm-up.

    Who begins changes from round to round, so that a drift of the machine favours nobody.
    """
    names = list(functions)
    for name in names:
        functions[name]()
    times = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            times[name].append(timed(functions[name]))
    return times


def ratio(times: list, reference: list, column: int = 0) -> tuple[float, float, float]:
    """Quartiles of the rounds' ratios, the median in the middle; column 1 is processor time."""
    ratios = [a[column] / b[column] for a, b in zip(times, reference)]
    return tuple(statistics.quantiles(ratios, n=4))


def milliseconds(times: list, iterations: int = 1, column: int = 0) -> float:
    """The median time of one iteration."""
    return 1000 * statistics.median(block[column] for block in times) / iterations


def peak_memory(function: Callable[[], None]) -> float:
    """MiB that a call needs at its peak above what is in use before it.

    On a GPU from the allocator. On Linux from the kernel's high-water mark of resident memory, set
    back before the call. glibc then hands every block of 64 KiB and more back at once, so that no
    holes between blocks count; this works only before `keep_freed_memory`, which leaves a heap.

    Raises:
        OSError: another system without a GPU.
    """
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return (torch.cuda.max_memory_allocated() - before) / 2 ** 20
    gc.collect()
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, 64 * 2 ** 10)
    libc.malloc_trim(0)
    Path('/proc/self/clear_refs').write_text('5')
    before = _kilobytes('VmRSS')
    function()
    return (_kilobytes('VmHWM') - before) / 2 ** 10


def peaks(functions: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Peak memory of each in MiB, of the second call: the first makes the momentum buffers."""
    found = {}
    for name, function in functions.items():
        function()
        found[name] = peak_memory(function)
    return found


def write_result(result: dict, path: Path | None) -> None:
    """Write the figures as JSON and say where, if a file is wanted."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + '\n')
        print(f'written to {path}')


def _kilobytes(name: str) -> int:
    status = Path('/proc/self/status').read_text()
    return int(re.search(rf'{name}:\s+(\d+) kB', status)[1])
