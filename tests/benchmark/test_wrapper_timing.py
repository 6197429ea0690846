"""The timing of optim wrappers: its arithmetic, and that every part of it runs."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / 'tools' / 'benchmark'


def tool(name):
    """A script of tools/benchmark as a module."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, FOLDER / f'{name}.py')
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


timing = tool('timing')


def test_a_ratio_is_the_median_over_rounds_of_neighbouring_blocks():
    # The machine slows down tenfold in the third round; the ratio does not see it.
    plain = [(1.0, 1.0), (1.0, 1.0), (10.0, 1.0)]
    wrapped = [(2.0, 3.0), (2.1, 3.0), (20.0, 3.0)]
    assert timing.ratio(wrapped, plain)[1] == pytest.approx(2.0)
    assert timing.ratio(wrapped, plain, column=1)[1] == pytest.approx(3.0)
    assert timing.milliseconds(wrapped, iterations=3) == pytest.approx(700)


def test_every_function_begins_a_round_in_its_turn():
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in 'abc'}
    times = timing.interleaved(functions, rounds=3)
    assert ''.join(calls) == 'abc' + 'abc' + 'bca' + 'cab'
    assert [len(blocks) for blocks in times.values()] == [3, 3, 3]


def test_peak_memory_sees_what_a_call_holds():
    if torch.cuda.is_available():
        pytest.skip('on a GPU the allocator is asked')

    def hold():
        blocks = [torch.ones(2 ** 20) for _ in range(64)]     # 4 MiB each
        return sum(float(block[0]) for block in blocks)
    assert timing.memory(hold)[0] > 100


def test_peaks_count_what_stays_from_call_to_call():
    if torch.cuda.is_available():
        pytest.skip('on a GPU the allocator is asked')
    kept = []

    def step():
        if not kept:
            kept.append(torch.ones(2 ** 20))             # 4 MiB that stay
        torch.ones(2 ** 18)                              # and 1 MiB that does not
    assert timing.peaks(dict(step=step))['step'] == pytest.approx(5, abs=0.1)


def test_peaks_count_the_copies_and_the_noise_of_a_wrapper():
    if torch.cuda.is_available():
        pytest.skip('on a GPU the allocator is asked')
    module = tool('optim_wrappers')
    batch = dict(inputs=torch.randn(4, 1024), labels=torch.arange(4))

    def stepper(method):
        model = module.classifier(dict(type=module.FeatureTable, num_features=1024), 1024)
        model.data_preprocessor.forward = lambda data, training=False: data
        wrapper = method(module.sgd(model))
        return lambda: model.train_step(dict(batch), wrapper) and None

    methods = dict(plain=module.OptimWrapper, SAM=module.SAM, GNM=module.GNM)
    found = timing.peaks({name: stepper(method) for name, method in methods.items()})
    # A weight of 4 MiB: SAM keeps a copy of it, GNM a copy and its noise.
    assert found['SAM'] - found['plain'] > 3.9
    assert found['GNM'] - found['plain'] == pytest.approx(8, abs=0.1)


def test_every_part_runs_at_a_small_size(tmp_path, capsys):
    threads = torch.get_num_threads()
    result = tool('optim_wrappers').main([
        '--rounds', '2', '--iterations', '1', '--threads', '1', '--batch-size', '8', '--depth', '8',
        '--heads', '10x16', '100x8', '--out', str(tmp_path / 'wrappers.json')])
    torch.set_num_threads(threads)
    assert (tmp_path / 'wrappers.json').is_file()
    assert {'plain', 'GNM', 'GNM_loop', 'SAM', 'SAM_loop', 'ImbSAM', 'CCSAM',
            'CCSAM_loop'} == set(result['steps'])
    assert result['steps']['GNM']['limit'] == 1.05 and result['own']['GNM']['limit'] == 2.5
    assert len(result['heads']) == 2
    assert all(entry['ms'] > 0 for part in result['heads'].values() for entry in part.values())
    assert capsys.readouterr().out.count('ratio') == 8 + 3 + 2 * 3


def test_the_loops_beside_the_wrappers_compute_the_same():
    module = tool('optim_wrappers')
    batch = dict(inputs=torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8),
                 labels=torch.arange(8) % 4)
    for method, loop in ((module.SAM, module.LoopSAM), (module.CCSAM, module.CCSAM)):
        weights = []
        for kind in (method, loop):
            torch.manual_seed(0)
            model = module.classifier(dict(type='CIFARResNet', depth=8), 4)
            if len(weights) and method is module.CCSAM:
                model.head.__class__ = module.OpaqueHead
            model.train_step(batch, kind(module.sgd(model)))
            weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        torch.testing.assert_close(*weights, atol=1e-6, rtol=1e-4)
