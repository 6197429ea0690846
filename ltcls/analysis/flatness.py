"""Every flatness probe of a run, for each class and group, as one plain dict."""

import json
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Iterator, NamedTuple, Sequence

import torch
from torch import Tensor

from ltcls.evaluation.record import package_versions
from ltcls.evaluation.table import render

from .hessian import hutchinson_trace, lanczos
from .landscape import directions, steps_of, walk
from .perturbation import Noise, fluctuation, generator_of, random_probe, sam_sharpness
from .runs import Run, build_dataset, class_groups, draw_images, load_model, read_numbers
from .surface import LossSurface, Measured, flatten

FILE_NAME = 'flatness.json'
FORMAT = 1
PROBES = ('random', 'sam', 'hessian', 'line', 'plane')
# The random probe asks about the function that is used, the others about what was minimised.
SPLITS = dict(random='test', sam='train', hessian='train', line='train', plane='train')


@dataclass
class FlatnessOptions:
    """What is measured, and on how many images. Costs are in passes over the chosen images."""

    probes: Sequence[str] = PROBES
    split: str | None = None        # 'train' or 'test' for every probe; None: as in SPLITS
    per_class: int | None = 100     # images a class; None: all
    seed: int = 0                   # of the images, the perturbations and the directions
    batch_size: int = 250
    scope: str = 'weights'          # of the random perturbations and the directions
    noises: Sequence[str] = ('gaussian:0.0001', 'filter:0.1')
    draws: int = 5                  # a noise; one forward pass each
    rho: float = 0.05               # of SAM's sharpness; a backward and a forward pass a class
    asam_rho: float = 0.5
    steps: int = 30                 # of Lanczos at most; two backward passes each
    trace_draws: int = 20           # two backward passes each
    each_class: bool = False        # the Hessian of every class too, not of the groups alone
    reach: float = 0.5              # of curve and surface, in filter lengths
    line_points: int = 21           # forward passes of the curve
    plane_points: int = 11          # squared: forward passes of the surface

    def check(self) -> None:
        """ValueError for what cannot be measured."""
        unknown = [name for name in self.probes if name not in PROBES]
        if unknown or not self.probes:
            raise ValueError(f"There is no probe '{(unknown or [''])[0]}'; there are "
                             f"{', '.join(PROBES)}.")
        if self.per_class is not None and self.per_class < 1:
            raise ValueError(f'{self.per_class} images a class: give at least 1.')
        if self.batch_size < 1:
            raise ValueError(f'batch_size={self.batch_size} must be at least 1.')
        if self.rho <= 0 or self.asam_rho <= 0:
            raise ValueError(f'rho={self.rho}, asam_rho={self.asam_rho}: both must be positive.')
        for noise in self.noises:
            Noise.parse(noise)


class Parts(NamedTuple):
    """The classes that a number is given for: overall, the groups, single classes."""

    groups: dict[str, list[int]]     # 'overall' first
    classes: list[dict]              # rows of the record with images among those measured

    @classmethod
    def of(cls, record: dict, labels: Tensor) -> 'Parts':
        present = set(labels.unique().tolist())
        rows = [row for row in record['per_class'] if row['index'] in present]
        groups = {name: [c for c in members if c in present]
                  for name, members in class_groups(record).items()}
        return cls({'overall': sorted(present), **{n: m for n, m in groups.items() if m}}, rows)


def measure_flatness(run: Run, options: FlatnessOptions, data_root: str | None = None,
                     device: str = 'cpu', say: Callable[[str], None] = lambda line: None,
                     command: str = '') -> dict:
    """All chosen probes of one run.

    Returns:
        JSON values: `options`, `images` of each split, and for each probe its numbers under
        overall and each group (`parts`) and each class (`classes`). See docs/analysis.md.

    Raises:
        ValueError: options that cannot be followed.
    """
    options.check()
    started = time.time()
    model = load_model(run, device)
    images = {}
    for split in sorted({options.split or SPLITS[probe] for probe in options.probes}):
        images[split] = draw_images(build_dataset(run, split, data_root), options.per_class,
                                    options.seed)
    found = dict(format=FORMAT, name=run.record['name'], method=run.record['method'],
                 seed=run.record['seed'], epoch=run.record['epoch'], command=command,
                 options=asdict(options), versions=package_versions(),
                 images={split: len(chosen.labels) for split, chosen in images.items()})
    for probe in PROBES:
        if probe not in options.probes:
            continue
        split = options.split or SPLITS[probe]
        chosen, begun = images[split], time.time()
        scope = options.scope if probe in ('random', 'line', 'plane') else 'all'
        surface = LossSurface(model, chosen.inputs.to(device), chosen.labels, options.batch_size,
                              scope)
        parts = Parts.of(run.record, chosen.labels)
        found[probe] = dict(split=split, **MEASURE[probe](surface, parts, options))
        say(f"{run.record['name']}: {probe} on {len(chosen.labels)} {split} images, "
            f'{time.time() - begun:.0f} s')
    found['seconds'] = round(time.time() - started, 1)
    return found


# -- the probes ---------------------------------------------------------------------------------

def _random(surface: LossSurface, parts: Parts, options: FlatnessOptions) -> dict:
    rows = []
    for text in options.noises:
        noise = Noise.parse(text)
        base, drawn = random_probe(surface, noise, options.draws, options.seed)
        base, drawn = _by_class(surface, base), [_by_class(surface, one) for one in drawn]

        def spread(classes: Sequence[int]) -> dict:
            loss, right = _mean(base, classes)
            both = [_mean(one, classes) for one in drawn]
            return dict(loss=loss, accuracy=100 * right, losses=[one for one, _ in both],
                        accuracies=[100 * share for _, share in both],
                        **fluctuation(loss, [one for one, _ in both]))

        rows.append(dict(noise=noise.kind, scale=noise.scale, **_for_all(parts, spread)))
    return dict(scope=options.scope, draws=options.draws, noises=rows)


def _sam(surface: LossSurface, parts: Parts, options: FlatnessOptions) -> dict:
    def sharpness(classes: Sequence[int]) -> dict:
        gradient = surface.gradient(classes)
        return dict(
            loss=surface.loss(classes), gradient=float(flatten(gradient).norm()),
            sharpness=sam_sharpness(surface, classes, gradient, options.rho),
            adaptive=sam_sharpness(surface, classes, gradient, options.asam_rho, adaptive=True))

    return dict(rho=options.rho, asam_rho=options.asam_rho, **_for_all(parts, sharpness))


def _hessian(surface: LossSurface, parts: Parts, options: FlatnessOptions) -> dict:
    size = sum(p.numel() for p in surface.params)
    like = torch.zeros(size, device=surface.device, dtype=surface.params[0].dtype)

    def curvature(classes: Sequence[int]) -> dict:
        def product(vector: Tensor) -> Tensor:
            return surface.hessian_product(vector, classes)
        start = torch.randn(size, generator=generator_of(options.seed, 0)).to(like)
        ends = lanczos(product, start, options.steps)
        trace = hutchinson_trace(product, like, options.trace_draws,
                                 generator_of(options.seed, 1))
        return dict(top=ends.top, bottom=ends.bottom, negativity=ends.negativity,
                    residual=ends.residual, steps=ends.steps, trace=trace.value,
                    trace_error=trace.error,
                    nodes=ends.nodes, masses=ends.masses)

    return dict(parameters=size, **_for_all(parts, curvature, options.each_class))


def _walked(surface: LossSurface, parts: Parts, options: FlatnessOptions,
            dimensions: int) -> dict:
    """Losses and accuracies [points] or [points * points], the last coordinate fastest."""
    steps = steps_of(options.reach, [options.line_points, options.plane_points][dimensions - 1])
    along = directions(surface, dimensions, options.seed)
    measured = [_by_class(surface, one) for one in walk(surface, along, steps)]

    def curve(classes: Sequence[int]) -> dict:
        both = [_mean(one, classes) for one in measured]
        return dict(losses=[loss for loss, _ in both],
                    accuracies=[100 * right for _, right in both])

    return dict(scope=options.scope, steps=steps,
                **_for_all(parts, curve, each_class=dimensions == 1))


MEASURE = dict(random=_random, sam=_sam, hessian=_hessian,
               line=partial(_walked, dimensions=1), plane=partial(_walked, dimensions=2))


def _for_all(parts: Parts, number: Callable[[Sequence[int]], dict],
             each_class: bool = True) -> dict:
    """`number` of overall, of each group and of each class."""
    rows = [dict(index=row['index'], name=row['name'], group=row['group'],
                 train_count=row['train_count'], **number([row['index']]))
            for row in (parts.classes if each_class else ())]
    return dict(parts={name: number(classes) for name, classes in parts.groups.items()},
                classes=rows)


def _by_class(surface: LossSurface, measured: Measured) -> Tensor:
    """Mean loss and share of right answers of each class, [2, C]; NaN without images."""
    counts = torch.bincount(surface.labels).double()
    return torch.stack([torch.bincount(surface.labels, weights=values) / counts
                        for values in measured])


def _mean(by_class: Tensor, classes: Sequence[int]) -> tuple[float, float]:
    """Loss and accuracy (a share), each the mean over these classes of their means."""
    return tuple(by_class[:, list(classes)].mean(dim=1).tolist())


# -- what is written, read and shown ------------------------------------------------------------

def read_flatness(path: str | Path) -> dict:
    """Numbers from disk.

    Raises:
        FileNotFoundError, ValueError: no such file, or another kind of file.
    """
    return read_numbers(path, 'flatness', 'flatness numbers', FORMAT, 'options')


def measured_before(path: str | Path, run: Run, options: FlatnessOptions) -> dict | None:
    """Numbers on disk, newer than the run's record and with these options; None without."""
    path, record = Path(path), run.folder / 'evaluation.json'
    if not path.is_file() or path.stat().st_mtime < record.stat().st_mtime:
        return None
    found = read_flatness(path)
    wanted = {**{key: run.record[key] for key in ('name', 'seed', 'epoch')},
              'options': json.loads(json.dumps(asdict(options)))}
    return found if all(found[key] == value for key, value in wanted.items()) else None


def flatness_table(found: Sequence[dict], names: Sequence[str], markdown: bool = False) -> str:
    """Runs and groups, one a line, with every number that was measured in all of them."""
    columns = list(flatness_columns(found[0]))
    rows = [['run', 'classes', *(title for title, _ in columns)]]
    for name, one in zip(names, found):
        for part in part_names(one):
            rows.append([name, part, *(_show(pick(one, part)) for _, pick in columns)])
    return render(rows, markdown)


def part_names(found: dict) -> list[str]:
    measured = [found[probe] for probe in PROBES if probe in found]
    first = measured[0]['noises'][0] if 'noises' in measured[0] else measured[0]
    return list(first['parts'])


def flatness_columns(found: dict) -> Iterator[tuple[str, Callable[[dict, str], float | None]]]:
    """Title and reader of each number of a run; the reader finds None in a run measured otherwise.

    It takes another run's numbers and the name of a part.
    """
    def of(probe: str, key: str):
        def read(one, part):
            measured = one.get(probe, {})
            alike = all(measured.get(name) == found[probe].get(name)
                        for name in ('split', 'rho', 'asam_rho', 'scope'))
            return measured['parts'].get(part, {}).get(key) if measured and alike else None
        return read

    noises = found.get('random', {}).get('noises', ())
    for row in noises:
        def rise(one, part, row=row, key='rise'):
            same = noise_of(one, row, found['random'])
            return same['parts'].get(part, {}).get(key) if same else None
        if row is noises[0]:
            yield 'test loss' if found['random']['split'] == 'test' else 'loss', \
                lambda one, part, row=row: rise(one, part, row, 'loss')
        yield f"rise, {row['noise']} {row['scale']:g}", rise
    if 'sam' in found:
        yield f"SAM {found['sam']['rho']:g}", of('sam', 'sharpness')
        yield f"ASAM {found['sam']['asam_rho']:g}", of('sam', 'adaptive')
    if 'hessian' in found:
        yield 'top eigenvalue', of('hessian', 'top')
        yield 'bottom eigenvalue', of('hessian', 'bottom')
        yield 'trace', of('hessian', 'trace')


def noise_of(one: dict, row: dict, random: dict) -> dict | None:
    """A run's numbers under the noise of `row`, on the split and in the scope of `random`."""
    measured = one.get('random', {})
    if any(measured.get(name) != random.get(name) for name in ('split', 'scope')):
        return None
    return next((own for own in measured['noises']
                 if (own['noise'], own['scale']) == (row['noise'], row['scale'])), None)


def _show(value: float | str | None) -> str:
    return '-' if value is None else value if isinstance(value, str) else f'{value:.4g}'
