"""The tools that time the engine: every part runs, and what they compare does the same work."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / 'tools' / 'benchmark'


@pytest.fixture
def tool(monkeypatch):
    """A script of tools/benchmark as a module, with its neighbours importable."""
    monkeypatch.syspath_prepend(str(FOLDER))
    threads = torch.get_num_threads()

    def load(name):
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, FOLDER / f'{name}.py')
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        return sys.modules[name]
    yield load
    torch.set_num_threads(threads)


def test_the_engine_is_set_beside_a_bare_loop_in_three_parts(tool, tmp_path, capsys):
    out = tmp_path / 'overhead.json'
    tool('overhead').main(['--rounds', '2', '--iterations', '1', '--batch-size', '4',
                           '--threads', '1', '--out', str(out)])
    parts = json.loads(out.read_text())['parts']
    assert set(parts) == {'step', 'epoch', 'evaluation'}
    for found in parts.values():
        for clock in ('wall', 'processor'):
            low, high = found[clock]['quartiles']
            assert 0 < low <= found[clock]['ratio'] <= high
    assert 'evaluation' in capsys.readouterr().out


def test_bare_loop_and_engine_take_the_same_step(tool):
    """From equal weights, on the same batch without augmentation, both end at equal weights."""
    from mmengine.optim import OptimWrapper

    from ltcls.longtail import Clock
    from ltcls.registry import MODELS
    overhead = tool('overhead')
    torch.manual_seed(0)
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, 10, (8,))
    bare = overhead.BareLoop(images, labels, batch_size=8, amp=False, device='cpu')
    model = MODELS.build(dict(
        type='ltcls.Classifier', backbone=dict(type='CIFARResNet', depth=32),
        head=dict(type='LinearHead'), loss=dict(type='CrossEntropyLoss'), data_preprocessor=dict(
            type='BatchPreprocessor', num_classes=10, mean=list(overhead.MEAN),
            std=list(overhead.STD))))
    model.bind([1] * 10)
    model.set_clock(Clock())
    model.backbone.load_state_dict(bare.network[0].state_dict())
    model.head.load_state_dict(bare.network[1].state_dict())
    # In float32 some activations are positive on one side only, by rounding; heads stay in it.
    for module in (model.backbone, model.data_preprocessor, bare.network[0]):
        module.double()
    bare.mean, bare.std = bare.mean.double(), bare.std.double()
    bare.network[1].register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    bare.network.train()
    loss = torch.nn.functional.cross_entropy(bare.logits(images), labels)
    bare.optimizer.zero_grad()
    loss.backward()
    bare.optimizer.step()
    model.train().train_step(dict(inputs=images, labels=labels), OptimWrapper(
        torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=2e-4)))
    torch.testing.assert_close(model.head.weight, bare.network[1].weight)
    for ours, theirs in zip(model.backbone.parameters(), bare.network[0].parameters()):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-8)


def test_the_scaling_tool_measures_images_classes_and_batch(tool, tmp_path):
    out = tmp_path / 'scaling.json'
    result = tool('scaling').main(['--rounds', '2', '--images', '9000', '--epochs', '300', '600',
                                   '--classes', '10',
                                   '--batches', '4', '--out', str(out)])
    assert out.is_file() and out.with_suffix('.png').is_file()
    assert result['images'][0]['images'] == 9000
    assert result['images'][0]['memory_mib'] > 0
    assert [row['images'] for row in result['epochs']] == [300, 600]
    assert all(row['epoch_s'] > 0 and row['memory_mib'] > 0 for row in result['epochs'])
    assert set(tool('scaling').METHODS) < set(result['classes'][0])


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--rounds', '1'], "argument --rounds: '1' must be a number from 2 on"),
    (['--images', '9000', '800'], "'800' must be a number from 8142 on")])
def test_what_the_scaling_tool_cannot_measure_is_refused(tool, arguments, message, capsys):
    with pytest.raises(SystemExit):
        tool('scaling').main(arguments)
    assert message in capsys.readouterr().err


def test_start_up_is_measured_to_the_first_iteration(tool, monkeypatch):
    startup = tool('startup')
    assert 0 < startup.seconds_to_first_iteration('ce_resnet20_digits') < 300


def test_a_config_that_never_starts_is_reported(tool, monkeypatch, tmp_path):
    broken = tmp_path / 'broken.py'
    broken.write_text('model = 3\n')
    with pytest.raises(RuntimeError, match='reached no iteration: error: '):
        tool('startup').seconds_to_first_iteration(str(broken))
