"""How time and memory grow with images, classes and batch.

- images: a list in the layout of iNaturalist 2018 with up to 437,513 files, all of them there but
  empty: seconds to build the data set (parsing, and looking for every file), memory it takes in a
  new process, and seconds to draw the order of one epoch.
- classes: head, loss, backward pass and update at 10 to 10,000 classes, in steps of a bare linear
  layer with cross-entropy and SGD; 512 features, a batch of 128.
- batch: the same at 1,000 classes and batches of 32 to 512.

One thread. The picture is written beside the JSON.

    python tools/benchmark/scaling.py --rounds 9 --out docs/results/scaling.json
"""

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from mmengine.dataset import DefaultSampler  # noqa: E402
from optim_wrappers import FeatureTable, sgd  # noqa: E402
from terminaltables import AsciiTable  # noqa: E402
from timing import interleaved, milliseconds, peaks, ratio, write_result  # noqa: E402

from ltcls.evaluation.record import describe_hardware, package_versions  # noqa: E402
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


def measure_images(root: Path, images: int, queue) -> None:
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
    queue.put(found)


def scale_images(counts: list[int], rounds: int) -> list[dict]:
    """Medians over `rounds` processes for each number of images."""
    context = multiprocessing.get_context('spawn')
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        lines = write_tree(root, max(counts))
        for images in counts:
            (root / 'iNaturalist18_train.txt').write_text(''.join(lines[:images]))
            found = []
            for _ in range(rounds):
                queue = context.Queue()
                process = context.Process(target=measure_images, args=(root, images, queue))
                process.start()
                found.append(queue.get(timeout=300))
                process.join()
            rows.append({name: statistics.median_low(row[name] for row in found)
                         for name in found[0]})
    return rows


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
    """Three text tables."""
    images = [('images', 'build s', 'MiB', *(f'{name} s' for name in SAMPLER_NAMES))]
    images += [(f"{row['images']:,}", f"{row['build_s']:.2f}", row['memory_mib'],
                *(row[f'{name}_s'] for name in SAMPLER_NAMES)) for row in result['images']]
    tables = [AsciiTable(images).table]
    for part, key in (('classes', 'classes'), ('batch', 'batch_size')):
        rows = [(key, 'bare ms', *(f'{name}, ms (ratio)' for name in METHODS))]
        rows += [(row[key], row['bare']['ms'], *(
            f"{row[name]['ms']:.3f} ({row[name]['ratio']:.2f})" for name in METHODS))
            for row in result[part]]
        tables.append(AsciiTable(rows).table)
    return '\n'.join(tables)


def draw(result: dict, path: Path) -> None:
    """Four panels: build time, memory, ratio against classes, time against batch."""
    from ltcls.analysis.style import METHOD_COLOURS, new_figure, save, styled
    with styled():
        figure = new_figure(10, 7)
        build, memory, classes, batch = figure.subplots(2, 2).flat
        counts = [row['images'] for row in result['images']]
        build.plot(counts, [row['build_s'] for row in result['images']], 'o-', label='build')
        for name in SAMPLER_NAMES:
            build.plot(counts, [row[f'{name}_s'] for row in result['images']], 'o-',
                       label=f'one epoch of {name}')
        build.set(title='Data set and order of an epoch', xlabel='images', ylabel='seconds')
        build.legend()
        memory.plot(counts, [row['memory_mib'] for row in result['images']], 'o-')
        memory.set(title='Memory of the data set', xlabel='images', ylabel='MiB')
        for axes, rows, key in ((classes, result['classes'], 'classes'),
                                (batch, result['batch'], 'batch_size')):
            for (name, colour) in zip(('bare', *METHODS), ('#777777', *METHOD_COLOURS)):
                axes.plot([row[key] for row in rows], [row[name]['ms'] for row in rows], 'o-',
                          color=colour, label=name)
            axes.set(xscale='log', yscale='log', ylabel='milliseconds a step')
            axes.set_xticks([row[key] for row in rows], [f'{row[key]:,}' for row in rows])
            axes.minorticks_off()
            axes.yaxis.set_major_formatter('{x:g}')
        classes.set(title=f'Head and loss, {DIMENSION} features, batch 128', xlabel='classes')
        batch.set(title='Head and loss, 1,000 classes', xlabel='batch')
        classes.legend()
        batch.set_yticks([3, 10, 30])
        for axes in (build, memory):
            axes.set_xlim(left=0)
            axes.set_ylim(bottom=0)
        save(figure, path)


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--images', type=int, nargs='+',
                        default=[10_000, 50_000, 115_846, 250_000, LARGEST])
    parser.add_argument('--classes', type=int, nargs='+', default=[10, 100, 1000, 10_000])
    parser.add_argument('--batches', type=int, nargs='+', default=[32, 64, 128, 256, 512])
    parser.add_argument('--out', type=Path, help='JSON file; the picture gets its name with .png')
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    result = dict(
        dimension=DIMENSION, rounds=options.rounds, hardware=describe_hardware(),
        versions=package_versions(),
        images=scale_images(options.images, min(options.rounds, 3)),
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
