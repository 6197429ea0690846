"""What the framework adds: the engine against a bare PyTorch loop that does the same work.

Three comparisons, on the CPU or on the GPU if there is one: a training step on one batch, an epoch
with everything around the steps (loader, augmentation, hooks, log, schedules; not checkpoints,
whose cost depends on the disk), and an evaluation of a test set. Engine and bare loop run in one
process, in turn, round after round, on the same images in memory, with the same network,
augmentation, precision and optimizer. A round's ratio divides the engine's block by the bare
block next to it; the result is the median of the rounds, with its quartiles. Peak memory of a
block stands beside the times.

    python tools/benchmark/overhead.py --rounds 15 --threads 2 --out docs/results/overhead.json

On a GPU `--compile` and `--cuda-graphs` switch both on for the engine; the bare loop stays as it is.
"""

import argparse
import io
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from terminaltables import AsciiTable  # noqa: E402
from timing import interleaved, milliseconds, peaks, ratio, write_result  # noqa: E402

from ltcls.commands.arguments import at_least  # noqa: E402
from ltcls.engine.prepare import Options, load_config  # noqa: E402
from ltcls.engine.stage import build_runner, give_data  # noqa: E402
from ltcls.registry import MODELS  # noqa: E402

CONFIG = 'ce_resnet32_cifar10'
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


class BareLoop:
    """The shortest PyTorch code for the same work, on images and labels that lie on the device."""

    def __init__(self, images, labels, batch_size: int, amp: bool, device: str):
        self.images, self.labels = images, labels
        self.batch_size, self.amp, self.device = batch_size, amp, device
        self.layout = torch.channels_last if amp else torch.contiguous_format
        self.network = torch.nn.Sequential(
            MODELS.build(dict(type='CIFARResNet', depth=32)), torch.nn.Linear(64, 10))
        self.network.to(device=device, memory_format=self.layout)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), lr=0.02, momentum=0.9, weight_decay=2e-4,
            fused=device == 'cuda' or None)
        self.mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1) * 255
        self.std = torch.tensor(STD, device=device).view(1, 3, 1, 1) * 255

    def logits(self, images):
        x = ((images - self.mean) / self.std).contiguous(memory_format=self.layout)
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.amp):
            logits = self.network(x)
        return logits.float()

    def step(self, images, labels):
        device, size = self.device, len(images)
        rows = torch.randint(0, 9, (size, 1), device=device) + torch.arange(32, device=device)
        columns = torch.arange(32, device=device).expand(size, 32)
        flips = torch.rand(size, 1, device=device) < 0.5
        columns = torch.where(flips, columns.flip(1), columns)
        columns = columns + torch.randint(0, 9, (size, 1), device=device)
        pixels = (rows[:, :, None] * 40 + columns[:, None, :]).flatten(1)
        padded = F.pad(images, (4, 4, 4, 4)).flatten(2)
        x = padded.gather(2, pixels[:, None].expand(size, 3, 1024)).view(size, 3, 32, 32)
        loss = F.cross_entropy(self.logits(x), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def epoch(self):
        self.network.train()
        for index in torch.randperm(len(self.images), device=self.device).split(self.batch_size):
            self.step(self.images[index], self.labels[index])

    def evaluate(self):
        self.network.eval()
        correct = torch.zeros(10, device=self.device)
        with torch.no_grad():
            for images, labels in zip(self.images.split(self.batch_size),
                                      self.labels.split(self.batch_size)):
                hits = self.logits(images).argmax(1) == labels
                correct.index_add_(0, labels, hits.float())
        return correct.tolist()


def ready_runner(folder: Path, options: argparse.Namespace):
    """The engine's runner of the config, on random images, as it is before its first epoch."""
    images = dict(_delete_=True, type='RandomImages', num_classes=10,
                  num_images=options.iterations * options.batch_size, size=32)
    cfg = load_config(CONFIG, Options(work_dir=folder, cfg_options={
        'train_dataloader.batch_size': options.batch_size,
        'test_dataloader.batch_size': options.batch_size,
        'train_dataloader.dataset': images,
        'test_dataloader.dataset': dict(images, split='test'),
        'val_dataloader': None, 'val_cfg': None, 'val_evaluator': None,
        'model.precision': 'bfloat16' if options.amp else None,
        'model.channels_last': options.amp,
        'model.compile': options.compile, 'model.cuda_graphs': options.cuda_graphs}))
    cfg.default_hooks.checkpoint.update(interval=-1, save_last=False)
    runner = build_runner(cfg)
    loop = runner.train_loop
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    give_data(runner, cfg, loop, runner.test_loop)
    runner.call_hook('before_run')
    runner.optim_wrapper.initialize_count_status(runner.model, 0, loop.max_iters)
    runner.call_hook('before_train')
    return runner


def quiet(function):
    """The log's work counts, its lines are not shown."""
    def silent():
        with redirect_stdout(io.StringIO()):
            function()
    return silent


def compare(runner, options: argparse.Namespace) -> dict:
    """{part: {wall, processor, memory}} of the three comparisons."""
    device = next(runner.model.parameters()).device.type
    dataset = runner.train_loop.dataloader.dataset
    whole = {name: value.to(device) for name, value in
             dataset.__getitems__(list(range(len(dataset)))).items()}
    bare = BareLoop(whole['inputs'], whole['labels'], options.batch_size, options.amp, device)
    batch = {name: value[:options.batch_size] for name, value in whole.items()}

    def steps(step):
        def block():
            for _ in range(options.iterations):
                step()
        return block

    def bare_step():
        bare.step(batch['inputs'], batch['labels'])

    def engine_step():
        runner.model.train_step(dict(batch), runner.optim_wrapper)
    parts = dict(
        step=dict(bare=steps(bare_step), engine=steps(engine_step)),
        epoch=dict(bare=bare.epoch, engine=quiet(runner.train_loop.run_epoch)),
        evaluation=dict(bare=bare.evaluate, engine=quiet(runner.test_loop.run)))
    result = {}
    for part, functions in parts.items():
        runner.model.train()
        bare.network.train()
        blocks = interleaved(functions, options.rounds)
        result[part] = {clock: figures(blocks, options.iterations, column)
                        for column, clock in enumerate(('wall', 'processor'))}
        if options.cuda_graphs:      # a replay allocates nothing that could be counted
            functions = dict(bare=functions['bare'])
        result[part]['memory'] = {name: round(mib, 1) for name, mib in peaks(functions).items()}
    return result


def figures(blocks: dict, iterations: int, column: int) -> dict:
    """Milliseconds an iteration of both, and the ratio with its quartiles."""
    low, middle, high = ratio(blocks['engine'], blocks['bare'], column)
    return dict(engine_ms=round(milliseconds(blocks['engine'], iterations, column), 3),
                bare_ms=round(milliseconds(blocks['bare'], iterations, column), 3),
                ratio=round(middle, 4), quartiles=[round(low, 4), round(high, 4)])


def table(result: dict) -> str:
    """The comparisons as a text table."""
    rows = [('part', 'clock', 'engine ms', 'bare ms', 'ratio', 'quartiles', 'engine MiB',
             'bare MiB')]
    for part, found in result['parts'].items():
        for clock in ('wall', 'processor'):
            times = found[clock]
            memory = found['memory'] if clock == 'wall' else {}
            rows.append((part, clock, f"{times['engine_ms']:.2f}", f"{times['bare_ms']:.2f}",
                         f"{times['ratio']:.3f}", '{:.3f} to {:.3f}'.format(*times['quartiles']),
                         memory.get('engine', ''), memory.get('bare', '')))
    return AsciiTable(rows).table


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=at_least(2), default=15)
    parser.add_argument('--iterations', type=at_least(1), default=10, help='batches in a block')
    parser.add_argument('--batch-size', type=at_least(1), default=128)
    parser.add_argument('--threads', type=at_least(1), default=2)
    parser.add_argument('--amp', action='store_true', help='bfloat16 and channels-last')
    parser.add_argument('--compile', action='store_true', help="the engine's model.compile=True")
    parser.add_argument('--cuda-graphs', action='store_true',
                        help="the engine's model.cuda_graphs=True")
    parser.add_argument('--out', type=Path, help='JSON file for the figures')
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        runner = ready_runner(Path(folder), options)
        parts = compare(runner, options)
    result = dict(config=CONFIG, batch_size=options.batch_size,
                  precision='bfloat16, channels-last' if options.amp else 'float32',
                  compile=options.compile, cuda_graphs=options.cuda_graphs,
                  iterations=options.iterations, rounds=options.rounds, threads=options.threads,
                  parts=parts)
    print(table(result))
    write_result(result, options.out)
    return result


if __name__ == '__main__':
    main()
