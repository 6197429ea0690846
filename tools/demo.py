"""A first result: cross-entropy against GCL with CBEN re-training, on the bundled digits.

`make demo` runs this. It trains the shipped configs with the engine behind `ltcls train`, three
seeds each, and ends with one table and one picture. Finished runs are used again.
"""

import argparse
import contextlib
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402

from ltcls.analysis.comparison import write_comparison  # noqa: E402
from ltcls.analysis.plots import write_plots  # noqa: E402
from ltcls.engine.prepare import Options, load_config  # noqa: E402
from ltcls.engine.recipe import run, stages  # noqa: E402
from ltcls.evaluation.record import read_record  # noqa: E402
from ltcls.evaluation.table import comparison_table  # noqa: E402
from ltcls.registry import DATASETS  # noqa: E402

RECIPES = ('ce_resnet20_digits', 'gcl-crt_resnet20_digits')
INTRODUCTION = """\
Real handwritten digits, 8x8 pixels. Training images of 0, 1, ... 9: {counts};
50 test images of each. Plain cross-entropy (ce) against GCL (gcl) and its second stage, which
trains the classifier again on CBEN samples (gcl-crt). Seeds: {seeds}. An epoch is shown when it
was tested."""
HOW_TO_READ = """\
How to read this: mean ± standard deviation over the seeds, in percent; many, medium and few are
the classes with more than 100, 20 to 100 and fewer than 20 training images.
A seed changes the initial weights, the order and the shifts of the images. It does not change
which images the rare classes have, and the rarest have {rare}: another choice may give another
ranking. With 50 test images, a class that reads 50 % may as well have 37 or 63. So this shows that
the parts work together and where the methods differ, not by how much they differ on other data."""


class Quiet:
    """Standard output without the lines of epochs that were not tested."""

    def __init__(self, stream):
        self.stream, self.line = stream, ''

    def write(self, text: str) -> int:
        *lines, self.line = (self.line + text).split('\n')
        for line in lines:
            if not line.startswith('epoch ') or '|' in line:
                self.stream.write(f'  {line}'.rstrip() + '\n')
        return len(text)

    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return False


def headline(record: dict, work_dir: Path, log: list[dict]) -> None:
    """One line for a finished stage; its pictures go beside its record."""
    write_plots(record, work_dir, log)
    groups = '  '.join(
        f"{name} {group['accuracy']:.1f}" for name, group in record['groups'].items())
    print(f"result: overall {record['overall']['accuracy']:.1f}  {groups}\n", flush=True)


def train(seeds: int, folder: Path) -> list[dict]:
    """The records of every stage for every seed; what is finished is read, not trained again."""
    records = []
    for seed in range(seeds):
        for recipe in RECIPES:
            options = Options(work_dir=folder / f'seed{seed}' / recipe, seed=seed, resume=True,
                              report=headline, command='make demo')
            with contextlib.redirect_stdout(Quiet(sys.stdout)):
                run(recipe, options)
            records += [read_record(Path(cfg.work_dir) / 'evaluation.json')
                        for _, cfg in stages(recipe, options)]
    return records


def wins(records: list[dict], part: str) -> str:
    """In how many seeds the re-trained classifier is above cross-entropy in one group."""
    scores = {(r['method'], r['seed']): r['groups'][part]['accuracy'] for r in records}
    seeds = sorted({seed for _, seed in scores})
    above = sum(scores['gcl-crt', seed] > scores['ce', seed] for seed in seeds)
    return f'{part}: gcl-crt is above ce in {above} of {len(seeds)} seeds'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=int, default=3, help='runs of each method')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo'))
    arguments = parser.parse_args()
    folder, seeds = arguments.work_dir, arguments.seeds
    # On 8x8 images a second thread gains little, and on a busy machine the two wait for each other.
    torch.set_num_threads(1)
    afresh = f'to start afresh: rm -r {folder}'
    data = load_config(RECIPES[0], Options()).train_dataloader.dataset
    counts = DATASETS.build(data).class_counts
    print(INTRODUCTION.format(counts=', '.join(map(str, counts)),
                              seeds=', '.join(map(str, range(seeds)))), end='\n\n')
    used_before = any(folder.glob('seed*/*/evaluation.json'))
    started = time.time()
    try:
        records = train(seeds, folder)
    except ValueError as error:
        print(f'error: {error} Or {afresh}', file=sys.stderr)
        return 2
    seconds = time.time() - started
    picture = write_comparison(records, folder / 'comparison.png')
    print(comparison_table(records, average=seeds > 1))
    print('\n'.join(wins(records, part) for part in ('many', 'medium', 'few')), end='\n\n')
    print(HOW_TO_READ.format(rare=' and '.join(map(str, sorted(counts)[:2]))), end='\n\n')
    print(f'The table as a picture: {picture}')
    print(f'Each run is in {folder}/seed*/*/: class_profile.png, confusion.png, reliability.png,')
    print('learning_curves.png, evaluation.json (every number above), log.jsonl')
    print(f'Finished runs were used again; {afresh}' if used_before else
          f'Trained and tested in {seconds:.0f} seconds. The next call uses these runs; {afresh}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
