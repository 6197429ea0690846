"""Timing that a busy machine does not spoil: blocks in turn, and ratios of neighbours."""

import json
import os
import statistics
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from ltcls.evaluation.record import describe_hardware, package_versions


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
        timed(functions[name])
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


def memory(function: Callable[[], None]) -> tuple[float, float]:
    """MiB of tensors at the peak of a call and after it, above those in use before it.

    From the allocator: of the GPU, or PyTorch's own on a CPU. What a call frees of earlier tensors
    counts if they were made under this function.
    """
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return tuple((size - before) / 2 ** 20 for size in (
            torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated()))
    with _quiet(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        function()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'trace.json'
        record.export_chrome_trace(str(path))
        events = json.loads(path.read_text())['traceEvents']
    events = [event for event in events if event.get('name') == '[memory]']
    if not events:
        return 0.0, 0.0
    events = [event['args'] for event in sorted(events, key=lambda event: event['ts'])]
    before = events[0]['Total Allocated'] - events[0]['Bytes']
    most = max(event['Total Allocated'] for event in events)
    return tuple((size - before) / 2 ** 20 for size in (most, events[-1]['Total Allocated']))


@contextmanager
def _quiet():
    """The profiler's library writes of its start and stop to the standard error."""
    usual, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(usual, 2)
        os.close(usual)
        os.close(nowhere)


def peaks(functions: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Peak memory of each in MiB: of its second call, above what was in use before its first.

    The first call makes what lies there from step to step, momentum and a wrapper's copies and
    noise, which count. What a function has made before it comes here does not: measure first.
    """
    if torch.cuda.is_available():      # libraries' workspaces, which stay, are nobody's
        small = torch.ones(8, 8, device='cuda', requires_grad=True)
        (small @ small).sum().backward()
    found = {}
    for name, function in functions.items():
        _, kept = memory(function)
        found[name] = kept + memory(function)[0]
    return found


def write_result(result: dict, path: Path | None) -> None:
    """Write the figures, machine and versions as JSON and say where, if a file is wanted."""
    if path is not None:
        result = dict(result, hardware=describe_hardware(), versions=package_versions())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + '\n')
        print(f'written to {path}')
