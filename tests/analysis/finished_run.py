"""Folders of finished runs, made without training."""

import json

import torch

from ltcls.engine.prepare import Options, load_config, plain_config
from ltcls.evaluation.record import build_record, write_record
from ltcls.evaluation.scores import measure
from ltcls.registry import DATASETS, MODELS

CONFIG = '''
_base_ = 'ltcls::{method}/{method}_resnet20_digits.py'
model = dict(backbone=dict(depth=8))
'''


def make_run(folder, method='ce', seed=0, noise=1.0):
    """A run on the digits whose network has its initial weights and whose record is made up."""
    folder.mkdir(parents=True)
    path = folder / f'{method}_resnet8_digits.py'
    path.write_text(CONFIG.format(method=method))
    cfg = load_config(path, Options(work_dir=folder))
    torch.manual_seed(seed)
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    counts = DATASETS.build(cfg.train_dataloader.dataset).class_counts
    model.bind(counts)
    torch.save(dict(state_dict=model.state_dict()), folder / 'epoch_60.pth')
    labels = torch.arange(10).repeat_interleave(50)
    scores = torch.nn.functional.one_hot(labels, 10) * 3 + noise * torch.randn(500, 10) + 0.1 * (
        torch.tensor(counts).log())
    confidences, answers = scores.softmax(1).max(1)
    measured = measure(labels, answers, confidences, None, classes=[str(c) for c in range(10)],
                       class_counts=counts)
    record = build_record(measured, name=path.stem, seed=seed, epoch=60, wall_time=61.0,
                          training_time=60.0, precision='float32', command='ltcls train',
                          parameters=sum(p.numel() for p in model.parameters()),
                          config=plain_config(cfg), fingerprints=dict(train='a', test='b'))
    write_record(folder / 'evaluation.json', record)
    lines = [dict(epoch=e, loss=2 / e, lr=0.1, images_per_second=100.0 * e, time=1.0)
             for e in range(1, 5)]
    lines[-1]['val'] = dict(accuracy=record['overall']['accuracy'], many=99.0, few=50.0)
    (folder / 'log.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return folder
