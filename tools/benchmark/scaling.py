"""How time and memory grow with images, classes and batch.

- images: a list in the layout of iNaturalist 2018 with up to 437,513 files, all of them there but
  empty: seconds to build the data set (parsing, and looking for every file), memory it takes in a
  new process, and seconds to draw the order of one epoch.
- epochs: one epoch of training through the engine on as many random images of 8x8 pixels in
  memory, a ResNet-8 and batches of 128: seconds, and how far the process grows.
- classes: head, loss, backward pass and update at 10 to 10,000 classes, in steps of a bare linear
  layer with cross-entropy and SGD; 512 features, a batch of 128.
- batch: the same at 1,000 classes and batches of 32 to 512.

One thread. The picture is written beside the JSON.

    python tools/benchmark/scaling.py --rounds 9 --out docs/results/scaling.json
"""

import argparse
import io
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from mmengine.dataset import DefaultSampler  # noqa: E402
from optim_wrappers import FeatureTable, sgd  # noqa: E402
from terminaltables import AsciiTable  # noqa: E402
from timing import interleaved, milliseconds, peaks, ratio, write_result  # noqa: E402

from ltcls.commands.arguments import at_least  # noqa: E402
from ltcls.longtail import exponential_counts  # noqa: E402
from ltcls.registry import DATASETS, MODELS, OPTIM_WRAPPERS, SAMPLERS  # noqa: E402

CLASSES_OF_LIST = 8142          # as many as iNaturalist 2018
LARGEST = 437_513
DIMENSION = 512
SAMPLER_NAMES = ('DefaultSampler', 'ClassBalancedSampler', 'CBENSampler')
# name in the table: loss and optim wrapper
METHODS = {
    'CE': (dict(type='CrossEntropyLoss'), dict(type='OptimWrapper')),
    'LDAM': (dict(type='LDAMLoss'), dict(type='OptimWrapper')),
    'logit adjustment': (dict(type='LogitAdjustedLoss'), dict(type='OptimWrapper')),
    'GCL': (dict(type='GCLLoss'), dict(type='OptimWrapper')),
    'CE, GNM': (dict(type='CrossEntropyLoss'), dict(type='GNM')),
    'CE, CC-SAM': (dict(type='CrossEntropyLoss'), dict(type='CCSAM', radius=0.01)),
}


# -- images -------------------------------------------------------------------------------------

def write_tree(root: Path, images: int) -> list[str]:
    """Empty files in 8,142 folders; the lines of the list that names them."""
    lines = []
    for label in range(CLASSES_OF_LIST):
        (root / f'train_val2018/Group/{label}').mkdir(parents=True)
    for index in range(images):
        label = index % CLASSES_OF_LIST
        name = f'train_val2018/Group/{label}/{index:032x}.jpg'
        (root / name).touch()
        lines.append(f'{name} {label}\n')
    return lines


def build_dataset(root: Path):
    """iNaturalist 2018 from a list of another length."""
    unchecked = type('Unchecked', (DATASETS.get('INaturalist'),),
                     dict(_check_counts=lambda self, split, counts: None))
    return unchecked(root=str(root))


def resident() -> int:
    """KiB of this process."""
    status = Path('/proc/self/status').read_text()
    return int(status.split('VmRSS:')[1].split()[0])


def measure_images(root: Path, images: int) -> dict:
    """In a new process: seconds and MiB of the data set, seconds to draw an epoch's order."""
    torch.set_num_threads(1)
    from ltcls import datasets, samplers  # noqa: F401
    before, started = resident(), time.perf_counter()
    dataset = build_dataset(root)
    found = dict(images=images, build_s=round(time.perf_counter() - started, 3),
                 memory_mib=round((resident() - before) / 2 ** 10, 1))
    for name in SAMPLER_NAMES:
        sampler = (DefaultSampler(dataset, seed=0) if name == 'DefaultSampler'
                   else SAMPLERS.build(dict(type=name, dataset=dataset, seed=0)))
        started = time.perf_counter()
        for _ in sampler:
            pass
        found[f'{name}_s'] = round(time.perf_counter() - started, 3)
    return found


def scale_images(counts: list[int], rounds: int) -> list[dict]:
    """Medians over `rounds` processes for each number of images."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        lines = write_tree(root, max(counts))
        for images in counts:
            (root / 'iNaturalist18_train.txt').write_text(''.join(lines[:images]))
            rows.append(in_new_processes(measure_images, root, images, rounds))
    return rows


def in_new_processes(measure, root: Path, images: int, rounds: int) -> dict:
    """Medians of what `measure` finds in `rounds` processes."""
    found = []
    for _ in range(rounds):
        with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as process:
            found.append(process.submit(measure, root, images).result())
    return {name: statistics.median_low(row[name] for row in found) for name in found[0]}


# -- epochs -------------------------------------------------------------------------------------

def measure_epoch(root: Path, images: int) -> dict:
    """In a new process: seconds of an epoch, and MiB by which the process grows at most."""
    torch.set_num_threads(1)
    from ltcls.engine.prepare import Options, load_config
    from ltcls.engine.stage import build_runner
    from ltcls.evaluation.record import read_log
    data = dict(_delete_=True, type='RandomImages', num_classes=10, num_images=images, size=8)
    folder = Path(tempfile.mkdtemp(dir=root))
    cfg = load_config('ce_resnet32_cifar10', Options(work_dir=folder, cfg_options={
        'model.backbone.depth': 8, 'model.precision': None, 'model.channels_last': False,
        'train_dataloader.dataset': data, 'test_dataloader.dataset': dict(data, split='test'),
        'train_dataloader.batch_size': 128, 'train_cfg.max_epochs': 1,
        'val_dataloader': None, 'val_cfg': None, 'val_evaluator': None}))
    cfg.default_hooks.checkpoint.update(interval=-1, save_last=False)
    cfg.env_cfg.mp_cfg = dict(mp_start_method='spawn')        # as this process was started
    before = resident()
    with redirect_stdout(io.StringIO()):
        build_runner(cfg).train()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return dict(images=images, epoch_s=read_log(folder / 'log.jsonl')[0]['time'],
                memory_mib=round((most - before) / 2 ** 10, 1))


def scale_epochs(counts: list[int]) -> list[dict]:
    """One epoch in a new process for each number of images."""
    with tempfile.TemporaryDirectory() as folder:
        return [in_new_processes(measure_epoch, Path(folder), images, rounds=1)
                for images in counts]


# -- classes and batch --------------------------------------------------------------------------

def bare_step(features, labels, classes: int):
    """Linear layer, cross-entropy, backward and SGD."""
    layer = torch.nn.Linear(DIMENSION, classes, device=features.device)
    optimizer = sgd(layer)

    def step():
        loss = F.cross_entropy(layer(features), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return step


def method_step(features, labels, classes: int, loss: dict, wrapper: dict):
    """The classifier's training step on features."""
    model = MODELS.build(dict(
        type='ltcls.Classifier', backbone=dict(type=FeatureTable, num_features=DIMENSION),
        head=dict(type='LinearHead'), loss=loss, data_preprocessor=dict(
            type='BatchPreprocessor', num_classes=classes, mean=[0.5] * 3, std=[0.25] * 3)))
    model.bind(exponential_counts(1000, classes, 100))
    model.to(features.device).train()
    # Features are no images: nothing is scaled, mixed or cropped.
    model.data_preprocessor.forward = lambda data, training=False: data
    built = OPTIM_WRAPPERS.build(dict(wrapper, optimizer=sgd(model)))
    batch = dict(inputs=features, labels=labels)

    def step():
        model.train_step(dict(batch), built)
    return step


def scale_steps(classes: int, size: int, rounds: int) -> dict:
    """Milliseconds, ratio to the bare step and peak MiB of every method."""
    torch.manual_seed(0)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    features = torch.randn(size, DIMENSION, device=device)
    shares = torch.tensor(exponential_counts(1000, classes, 100), dtype=torch.float64)
    labels = torch.multinomial(shares, size, replacement=True).to(device)
    steps = dict(bare=bare_step(features, labels, classes), **{
        name: method_step(features, labels, classes, *parts) for name, parts in METHODS.items()})
    repeat = max(1, 2000 // classes)
    blocks = {name: lambda step=step: [step() for _ in range(repeat)] and None
              for name, step in steps.items()}
    memory = peaks(steps)
    times = interleaved(blocks, rounds)
    row = dict(classes=classes, batch_size=size)
    for name, found in times.items():
        row[name] = dict(ms=round(milliseconds(found, repeat), 4),
                         ratio=round(ratio(found, times['bare'])[1], 3),
                         above_bare_ms=round(milliseconds(found, repeat)
                                             - milliseconds(times['bare'], repeat), 4),
                         peak_mib=round(memory[name], 1))
    return row


# -- results ------------------------------------------------------------------------------------

def table(result: dict) -> str:
    """Four text tables."""
    images = [('images', 'build s', 'MiB', *(f'{name} s' for name in SAMPLER_NAMES))]
    images += [(f"{row['images']:,}", f"{row['build_s']:.2f}", row['memory_mib'],
                *(row[f'{name}_s'] for name in SAMPLER_NAMES)) for row in result['images']]
    epochs = [('images', 'epoch s', 'MiB')]
    epochs += [(f"{row['images']:,}", f"{row['epoch_s']:.2f}", row['memory_mib'])
               for row in result['epochs']]
    tables = [AsciiTable(images).table, AsciiTable(epochs).table]
    for part, key in (('classes', 'classes'), ('batch', 'batch_size')):
        rows = [(key, 'bare ms', *(f'{name}, ms (ratio)' for name in METHODS))]
        rows += [(row[key], row['bare']['ms'], *(
            f"{row[name]['ms']:.3f} ({row[name]['ratio']:.2f})" for name in METHODS))
            for row in result[part]]
        tables.append(AsciiTable(rows).table)
    return '\n'.join(tables)


def draw(result: dict, path: Path) -> None:
    """Time above, memory below, against the images of a list, those of an epoch, classes, batch."""
    from ltcls.analysis.style import METHOD_COLOURS, new_figure, save, styled
    with styled():
        figure = new_figure(16, 7)
        times, memory = figure.subplots(2, 4)
        counts = [row['images'] for row in result['images']]
        times[0].plot(counts, [row['build_s'] for row in result['images']], 'o-', label='build')
        for name in SAMPLER_NAMES:
            times[0].plot(counts, [row[f'{name}_s'] for row in result['images']], 'o-',
                          label=f'order of {name}')
        times[0].set(title='A list: data set, order of an epoch', ylabel='seconds')
        times[0].legend()
        memory[0].plot(counts, [row['memory_mib'] for row in result['images']], 'o-')
        epochs = [row['images'] for row in result['epochs']]
        times[1].plot(epochs, [row['epoch_s'] for row in result['epochs']], 'o-')
        times[1].set(title='An epoch: ResNet-8, 8x8 pixels', ylabel='seconds')
        memory[1].plot(epochs, [row['memory_mib'] for row in result['epochs']], 'o-')
        for axes in (*times[:2], *memory[:2]):
            axes.set_xlim(left=0)
            axes.set_ylim(bottom=0)
        for place, rows, key in ((2, result['classes'], 'classes'),
                                 (3, result['batch'], 'batch_size')):
            for axes, what in ((times[place], 'ms'), (memory[place], 'peak_mib')):
                for (name, colour) in zip(('bare', *METHODS), ('#777777', *METHOD_COLOURS)):
                    axes.plot([row[key] for row in rows], [row[name][what] for row in rows], 'o-',
                              color=colour, label=name)
                axes.set(xscale='log', yscale='log')
                axes.set_xticks([row[key] for row in rows], [f'{row[key]:,}' for row in rows])
                axes.minorticks_off()
                axes.yaxis.set_major_formatter('{x:g}')
            times[place].set_ylabel('milliseconds a step')
        times[2].set_title(f'Head and loss, {DIMENSION} features, batch 128')
        times[3].set_title('Head and loss, 1,000 classes')
        times[2].legend()
        for axes, label in zip(memory, ('images', 'images', 'classes', 'batch')):
            axes.set(xlabel=label, ylabel='MiB')
        save(figure, path)


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=at_least(2), default=9)
    parser.add_argument('--images', type=at_least(CLASSES_OF_LIST), nargs='+',
                        help='at least one for each class of the list',
                        default=[10_000, 50_000, 115_846, 250_000, LARGEST])
    parser.add_argument('--epochs', type=at_least(1), nargs='+', help='images of an epoch',
                        default=[10_000, 50_000, 115_846, 250_000, LARGEST])
    parser.add_argument('--classes', type=at_least(1), nargs='+', default=[10, 100, 1000, 10_000])
    parser.add_argument('--batches', type=at_least(1), nargs='+', default=[32, 64, 128, 256, 512])
    parser.add_argument('--out', type=Path, help='JSON file; the picture gets its name with .png')
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    result = dict(
        dimension=DIMENSION, rounds=options.rounds,
        images=scale_images(options.images, min(options.rounds, 3)),
        epochs=scale_epochs(options.epochs),
        classes=[scale_steps(classes, 128, options.rounds) for classes in options.classes],
        batch=[scale_steps(1000, size, options.rounds) for size in options.batches])
    print(table(result))
    write_result(result, options.out)
    if options.out:
        draw(result, options.out.with_suffix('.png'))
        print(f"drawn in {options.out.with_suffix('.png')}")
    return result


if __name__ == '__main__':
    main()
