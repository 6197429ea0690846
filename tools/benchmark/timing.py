"""Timing that a busy machine does not spoil: blocks in turn, and ratios of neighbours."""

import os
import statistics
import threading
import time
from typing import Callable

import torch


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

    On a GPU from the allocator; else from this process's resident memory, looked at every half
    millisecond, which misses short peaks.
    """
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return (torch.cuda.max_memory_allocated() - before) / 2 ** 20
    before = peak = _resident()
    done = threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(5e-4):
            peak = max(peak, _resident())
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    function()
    done.set()
    watcher.join()
    return (max(peak, _resident()) - before) / 2 ** 20


def _resident() -> int:
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
