"""What the framework adds to an iteration: the engine's training loop against a bare PyTorch loop.

Both run in one process, in turn, round after round, on the same images in memory, with the same
network, augmentation, precision and optimizer. A block is one epoch of `--iterations` batches; a
round's ratio divides the engine's block by the bare loop's next to it; the result is the median
of the rounds, with its quartiles. The engine's block is `EpochBasedTrainLoop.run_epoch` with every
hook of the config but checkpoints, whose cost depends on the disk.

    python tools/benchmark/overhead.py --rounds 15 --threads 2 --out docs/results/overhead.json
"""

import argparse
import io
import json
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from timing import interleaved, milliseconds, ratio  # noqa: E402

from ltcls.engine.prepare import Options, load_config  # noqa: E402
from ltcls.engine.stage import build_runner  # noqa: E402
from ltcls.evaluation.record import describe_hardware, package_versions  # noqa: E402


def bare_epoch(images, labels, network, optimizer, batch_size: int, dtype, channels_last: bool):
    """One epoch of the shortest loop that does the same work."""
    mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1) * 255
    std = torch.tensor([0.2023, 0.1994, 0.2010]).view(1, 3, 1, 1) * 255
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network.train()
    for index in torch.randperm(len(images)).split(batch_size):
        x = F.pad(images[index], (4, 4, 4, 4))
        size = len(index)
        rows = torch.randint(0, 9, (size, 1)) + torch.arange(32)
        columns = torch.arange(32).expand(size, 32)
        columns = torch.where(torch.rand(size, 1) < 0.5, columns.flip(1), columns)
        columns = columns + torch.randint(0, 9, (size, 1))
        x = x[torch.arange(size)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        x = ((x.permute(0, 3, 1, 2) - mean) / std).contiguous(memory_format=layout)
        with torch.autocast('cpu', dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            logits = network(x)
        loss = F.cross_entropy(logits.float(), labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument('--rounds', type=int, default=15)
    arguments.add_argument('--iterations', type=int, default=10, help='batches in a block')
    arguments.add_argument('--batch-size', type=int, default=128)
    arguments.add_argument('--threads', type=int, default=2)
    arguments.add_argument('--amp', action='store_true', help='bfloat16 and channels-last')
    arguments.add_argument('--out', type=Path, help='JSON file for the figures')
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    count = options.iterations * options.batch_size

    with tempfile.TemporaryDirectory() as folder:
        cfg = load_config('ce_resnet32_cifar10', Options(work_dir=Path(folder), cfg_options={
            'train_dataloader.batch_size': options.batch_size,
            'train_dataloader.dataset': dict(
                _delete_=True, type='RandomImages', num_classes=10, num_images=count, size=32),
            'val_dataloader': None, 'val_cfg': None, 'val_evaluator': None,
            'model.precision': 'bfloat16' if options.amp else None,
            'model.channels_last': options.amp,
            'default_hooks.checkpoint': dict(interval=-1, save_last=False)}))
        runner = build_runner(cfg)
        loop = runner.train_loop
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
        runner.call_hook('before_run')
        runner.optim_wrapper.initialize_count_status(runner.model, 0, loop.max_iters)
        runner.call_hook('before_train')
        dataset = loop.dataloader.dataset
        batch = dataset.__getitems__(list(range(count)))
        from ltcls.registry import MODELS
        network = torch.nn.Sequential(MODELS.build(dict(type='CIFARResNet', depth=32)),
                                      torch.nn.Linear(64, 10))
        if options.amp:
            network.to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9, weight_decay=2e-4)

        def bare():
            bare_epoch(batch['inputs'], batch['labels'], network, optimizer, options.batch_size,
                       torch.bfloat16 if options.amp else None, options.amp)

        def engine():
            # The log's work counts, its lines are not shown.
            with redirect_stdout(io.StringIO()):
                loop.run_epoch()

        blocks = interleaved(dict(bare=bare, engine=engine), options.rounds)

    result = dict(config='ce_resnet32_cifar10', batch_size=options.batch_size,
                  precision='bfloat16, channels-last' if options.amp else 'float32',
                  iterations=options.iterations, rounds=options.rounds, threads=options.threads,
                  hardware=describe_hardware(), versions=package_versions())
    for clock, column in (('wall', 0), ('processor', 1)):
        low, middle, high = ratio(blocks['engine'], blocks['bare'], column)
        result[clock] = dict(
            engine_ms=round(milliseconds(blocks['engine'], options.iterations, column), 2),
            bare_ms=round(milliseconds(blocks['bare'], options.iterations, column), 2),
            ratio=round(middle, 4), quartiles=[round(low, 4), round(high, 4)])
        print(f"{clock:9}  engine {result[clock]['engine_ms']:8.2f} ms/iteration   bare "
              f"{result[clock]['bare_ms']:8.2f}   ratio {middle:.3f} (quartiles {low:.3f} to "
              f'{high:.3f})')
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + '\n')
        print(f'written to {options.out}')


if __name__ == '__main__':
    main()
