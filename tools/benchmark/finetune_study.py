"""The study tiny100-prompts: fine-tuning a frozen network on a long tail, without any download.

Trains a small Vision Transformer on one half of a hundred classes, once, then tunes prompts on the
long-tailed other half with each row of the study and each seed. What is finished is used as it
is, so a broken run is continued by the same command.

    python tools/benchmark/finetune_study.py --seeds 0 1 --threads 1
    python tools/benchmark/study.py tiny100-prompts --collect work_dirs/tiny100-prompts/seed0 \\
        work_dirs/tiny100-prompts/seed1

It needs the class folders of tiny100 in data/tiny100, train/ and test/; elsewhere: --data-root.
"""

import argparse
import shlex
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

import torch  # noqa: E402
from study import STUDIES  # noqa: E402

from ltcls.commands.arguments import at_least, report  # noqa: E402
from ltcls.engine import recipe  # noqa: E402
from ltcls.engine.prepare import Options, load_config  # noqa: E402

STUDY = 'tiny100-prompts'
PRETRAINING = 'pretrain_vit_tiny50a'
ROWS = [config for config, _, _ in STUDIES[STUDY]['rows']]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=at_least(0), nargs='+', default=[0, 1])
    parser.add_argument('--data-root', help='folder with train/ and test/ of tiny100')
    parser.add_argument('--out', type=Path, default=Path('work_dirs') / STUDY)
    parser.add_argument('--threads', type=at_least(1), default=1)
    parser.add_argument('--dry-run', action='store_true',
                        help='two iterations of each on random images, in a temporary folder')
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    words = sys.argv[1:] if arguments is None else arguments
    command = f'python tools/benchmark/finetune_study.py {shlex.join(words)}'.rstrip()

    def run(config: str, work_dir: Path, seed: int) -> None:
        recipe.run(config, Options(
            work_dir=work_dir, resume=True, seed=seed, data_root=options.data_root,
            dry_run=options.dry_run, command=command, report=report))

    if options.dry_run:
        with tempfile.TemporaryDirectory(prefix='ltcls-dry-run-') as folder:
            for config in (PRETRAINING, *ROWS):
                run(config, Path(folder) / config, seed=0)
        return
    # The rows look for the network where this config says it is.
    weights = Path(load_config(ROWS[0], Options()).model.backbone.weights)
    run(PRETRAINING, weights.parent, seed=0)
    for seed in options.seeds:
        for config in ROWS:
            run(config, options.out / f'seed{seed}' / config, seed)


if __name__ == '__main__':
    main()
