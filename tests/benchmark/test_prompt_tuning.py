"""The benchmark of prompt tuning: its three steps compute the same."""

import copy
import sys
from argparse import Namespace
from pathlib import Path

import torch
from torch.testing import assert_close

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools' / 'benchmark'))

import prompt_tuning  # noqa: E402


def test_the_three_forms_take_the_same_step():
    # Dropout draws in another order than the noise of the logits: without it all draws agree.
    options = Namespace(vit='vit_tiny_patch16_224', image_size=32, classes=5, precision='float32')
    model = prompt_tuning.gnm_pt(options)
    model.backbone.dropout.p = 0.0
    batch = dict(inputs=torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8),
                 labels=torch.arange(4))
    found = []
    for form in ('library', 'bare', 'graph'):
        own = copy.deepcopy(model)
        if form == 'graph':
            own.backbone.model.requires_grad_(True)
        make = prompt_tuning.bare_step if form == 'bare' else prompt_tuning.library_step
        step = make(own, batch)
        torch.manual_seed(1)
        step()
        found.append((own.backbone.prompts.detach(), own.head.weight.detach()))
        assert not torch.equal(own.backbone.prompts, model.backbone.prompts)
        assert all(p.grad is None for p in own.backbone.model.parameters())
    for other in found[1:]:
        assert_close(other, found[0], atol=1e-6, rtol=1e-4)


def test_the_figures_are_those_of_the_sizes_asked_for(tmp_path, capsys):
    threads = torch.get_num_threads()
    result = prompt_tuning.main([
        '--vit', 'vit_tiny_patch16_224', '--image-size', '32', '--batch-size', '2', '--classes',
        '10', '--rounds', '2', '--iterations', '1', '--threads', '1', '--out',
        str(tmp_path / 'x.json')])
    torch.set_num_threads(threads)
    assert (tmp_path / 'x.json').is_file() and capsys.readouterr().out.count('images/s') == 3
    # Twelve blocks of ten prompts, and ten classes, of width 192.
    assert result['trained'] == (12 * 10 + 10) * 192
    for found in result['steps'].values():
        # Rounded to a tenth: of few images a second, where the machine is busy.
        assert abs(found['images_per_second'] - 2000 / found['ms']) < 0.06 + 0.01 * 2000 / found['ms']
