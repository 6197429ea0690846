"""The timing of learned sample weights: every part runs, and what is compared is the same step."""

import copy
import importlib.util
import json
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / 'tools' / 'benchmark'


@pytest.fixture
def tool(monkeypatch):
    """The script as a module, with its neighbours importable."""
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location('meta_timing', FOLDER / 'meta_reweight.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    threads = torch.get_num_threads()
    yield module
    torch.set_num_threads(threads)


def test_every_step_is_timed_in_both_memory_formats(tool, tmp_path, capsys):
    out = tmp_path / 'meta.json'
    tool.main(['--rounds', '2', '--threads', '1', '--batch-size', '8', '--depth', '8',
               '--size', '8', '--out', str(out)])
    found = json.loads(out.read_text())
    for memory_format in ('contiguous', 'channels_last'):
        part = found[memory_format]
        assert set(part) == {*tool.HOOKS, 'difference'} and part['difference'] < 1e-8
        assert part['plain']['of_plain'] == part['double']['of_double'] == dict(
            ratio=1.0, quartiles=[1.0, 1.0])
        assert all(part[name]['ms'] > 0 for name in tool.HOOKS)
    assert capsys.readouterr().out.count('at most') == 2 * len(tool.LIMITS)


def test_all_forms_lead_to_the_same_weights(tool):
    options = tool.parse(['--batch-size', '8', '--depth', '8', '--size', '8'])
    torch.manual_seed(0)
    base = tool.classifier(options, channels_last=False)
    batch, dev = (tool.images(options, torch.arange(8) % 10, 'cpu') for _ in range(2))
    found = []
    for name in ('meta', 'once', 'apart', 'double'):
        model = copy.deepcopy(base)
        hook = copy.deepcopy(tool.HOOKS[name])
        hook.tau = 100.0
        tool.stepper(model, hook, batch, dev, iterations=2)()
        found.append(model.state_dict())
    for other in found[1:]:
        for name, value in found[0].items():
            torch.testing.assert_close(value, other[name], atol=1e-5, rtol=1e-3, msg=name)
