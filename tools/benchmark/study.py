"""Tables of docs/results/studies from the records of runs.

    python tools/benchmark/study.py digits --run --seeds 0 1 2
    python tools/benchmark/study.py cifar10-short --collect work_dirs/seed0 work_dirs/seed1
    python tools/benchmark/study.py cifar10-short

The first form trains each row with each seed in work_dirs/STUDY/seed{S}; what is finished is used
as it is, and what was interrupted goes on. It and the second form copy the evaluation records of
the study's configs into docs/results/records/STUDY; all write docs/results/studies/STUDY.md from
what is there. A row without a record stays empty.
"""

import argparse
import json
import shlex
import statistics
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ltcls.analysis.sample_weights import (plot_sample_weights, read_weights_log,  # noqa: E402
                                           relative_size)
from ltcls.analysis.style import save  # noqa: E402
from ltcls.commands.arguments import at_least  # noqa: E402
from ltcls.engine import recipe  # noqa: E402
from ltcls.engine.configs import config_names  # noqa: E402
from ltcls.engine.prepare import Options  # noqa: E402
from ltcls.evaluation.record import read_record  # noqa: E402
from ltcls.evaluation.scores import part_accuracy  # noqa: E402
from ltcls.evaluation.table import spread  # noqa: E402
from ltcls.hooks.sample_weights import WEIGHTS_LOG  # noqa: E402

RESULTS = ROOT / 'docs' / 'results'
PAGES = RESULTS / 'studies'
WORK = Path('work_dirs')
IMAGES = ('Images: all of CIFAR-10, encoded anew as JPEG of quality 75, colours at half the '
          'resolution: not the pixels of the original release.')
DIGITS = '_resnet20_digits'
# `shows` is the reading of the table; a row: config, what it is called, the number `beside` it
STUDIES = {
    'cifar10-short': dict(
        title='CIFAR-10-LT, factor 100, ResNet-32, 30 epochs',
        about='A schedule that a CPU finishes: 30 epochs of batches of 128, five of warm-up and '
              'then cosine, bfloat16 with channels-last memory; the second stages add 10 epochs. '
              f'{IMAGES} The result is that of the last epoch.',
        beside='a compact reference loop, one seed',
        rows=[
            ('ce_resnet32_cifar10-short', 'CE', 61.7),
            ('la-posthoc_resnet32_cifar10-short', 'CE + post-hoc logit adjustment', 70.3),
            ('crt_resnet32_cifar10-short', 'CE + cRT', 69.7),
            ('ldam-drw_resnet32_cifar10-short', 'LDAM-DRW', 71.0),
            ('gcl_resnet32_cifar10-short', 'GCL, stage 1', 67.7),
            ('gcl-crt_resnet32_cifar10-short', 'GCL + CBEN', 71.4),
        ]),
    'cifar10-200e': dict(
        title='CIFAR-10-LT, factor 100, ResNet-32, the published 200 epochs',
        about='The published schedule: 200 epochs of batches of 64, steps at 160 and 180; GCL with '
              'mixup, and 30 epochs of classifier re-training on effective-number samples. '
              f'Run in bfloat16 with channels-last memory (`--amp`). {IMAGES} The result is that '
              'of the last epoch. The 200-epoch stages ran beside each other and beside other '
              'work, were resumed once and halted at times: their minutes say little about cost.',
        shows='Both fall short of the published numbers. The encoding of the images is likely a part of '
              'it: in 30 epochs the pixels of the release give about three points more, see [what the short '
              'runs depend on](cifar10-sensitivity.md).',
        beside='published (Li et al., CVPR 2022, Table 1)',
        rows=[
            ('ce_resnet32_cifar10', 'CE', 70.70),
            ('gcl_resnet32_cifar10', 'GCL, stage 1', None),
            ('gcl-crt_resnet32_cifar10', 'GCL + CBEN/cRT', 82.68),
        ]),
    'cifar10-perturbed': dict(
        title='Perturbed gradients on CIFAR-10-LT, factor 100, ResNet-32, 30 epochs',
        about='The schedule of [cifar10-short](cifar10-short.md): 30 epochs of batches of 128, '
              'bfloat16 with channels-last memory, no mixup; class weights of GCL + DRW begin with '
              'the last six epochs, and the second stage of CC-SAM adds 10 epochs. '
              'The published column is from elsewhere: the rows of GNM from ViT-B/16 on '
              'CIFAR-100-LT (Li et al., NeurIPS 2024), where only the order compares, CC-SAM from '
              '200 epochs on this data set (Zhou et al., CVPR 2023). '
              f'{IMAGES} The result is that of the last epoch. The runs had one thread each and '
              'one to three others beside them, CE + SAM most: seconds compare roughly. The second '
              'seeds of GCL + DRW + SAM and of the radii x 0.1 and x 0.001 are in float32, on a '
              'processor that has no bfloat16 ([what that changes](cifar10-sensitivity.md)).',
        beside='published, see above',
        shows='**GNM** '
              'changes nothing: seed by seed it is within 0.1 points of CE and of GCL + DRW. Its pass '
              'at a random point costs next to nothing. **SAM**, at twice the passes, loses three and '
              'five points of CE and about one of GCL + DRW, where it finds more of the two rarest '
              'classes at the expense of the others. The published gains of both do not show in 30 epochs. '
              "**CC-SAM**: the paper's radius keeps this network from learning in 30 epochs, "
              'without one image of the rarest classes right, and stage 2 cannot repair it; a tenth '
              'costs eleven points and six; a hundredth and a thousandth are level with CE within a '
              'point, so that no radius of the sweep is a gain. Over a hundredth stage 2 wins 7 points and most '
              'of the rarest classes, nearly as much as [cRT over CE](cifar10-short.md). After five of '
              'its ten epochs it was better than at the end (70.73 and 70.13): the adversarial share '
              'grows at the expense of the frequent classes.',
        seconds=True,
        rows=[
            ('ce_resnet32_cifar10-short', 'CE', 81.02),
            ('ce-sam_resnet32_cifar10-short', 'CE + SAM', 82.48),
            ('ce-gnm_resnet32_cifar10-short', 'CE + GNM', 82.50),
            ('gcl-drw_resnet32_cifar10-short', 'GCL + DRW', 89.58),
            ('gcl-drw-sam_resnet32_cifar10-short', 'GCL + DRW + SAM', 89.69),
            ('gcl-drw-gnm_resnet32_cifar10-short', 'GCL + DRW + GNM', 90.28),
            ('cc_sam_resnet32_cifar10-short', 'CC-SAM, stage 1', None),
            ('cc_sam-radius1e-1_resnet32_cifar10-short', 'the same, radius x 0.1', None),
            ('cc_sam-radius1e-2_resnet32_cifar10-short', 'the same, radius x 0.01', None),
            ('cc_sam-radius1e-3_resnet32_cifar10-short', 'the same, radius x 0.001', None),
            ('cc_sam-adv_resnet32_cifar10-short', 'CC-SAM', 83.92),
            ('cc_sam-radius1e-2-adv_resnet32_cifar10-short', 'CC-SAM, radius x 0.01', None),
        ]),
    'digits': dict(
        title='Every method on the handwritten digits',
        about='Each config that ends in `_resnet20_digits`, on the 8x8 digits that come with '
              'scikit-learn, cut to 128 images of the digit 0 down to 2 of the digit 9; ResNet-20, '
              '60 epochs, float32. The test set has 500 images, 50 of each digit: a difference of '
              'a point is five images. It shows that a method works and where it moves the '
              'errors, not which method is best on photographs; settings are those of CIFAR-10, '
              'not tuned to this set. The result is that of the last epoch.',
        shows='Most methods find more of the two rarest digits than CE, at little or no expense of '
              'the frequent ones. Rows with a development set (`l2rw`, `meta_weight_net` and '
              '`meta_reweight`) train on other images, 118 to 2 a class: compare them with each '
              'other and with `tau0`, the control, but not with the rest. L2RW gives most of a '
              "batch no weight in the end. The paper's radius of CC-SAM keeps the network from "
              'learning; `cc_sam-code`, a far smaller one, does not. '
              'Mixup alone costs the rare digits; cRT, LWS and NCM on top of it win them back, '
              'tau-normalisation does not. The total direct effect, with the alpha of CIFAR-10, adds '
              'nothing to the de-confounded classifier here. BBN, whose loss is of two labels as that of '
              'mixup, ends below CE as mixup does. Of the experts RIDE is steady, and NCL good in two seeds of '
              'three: in the third its training loss stays five times as high. Stage 1 of SHIKE knows '
              'nothing of the prior and falls far behind CE; its second stage wins most of that back. BCL and GPaCo '
              'find more of the rare digits than CE, and nearly the same in every seed, on images that '
              'are changed more than those of the other rows.',
        rows=[(name, name.removesuffix(DIGITS), None) for name in sorted(config_names())
              if name.endswith(DIGITS)]),
    'cifar10-sensitivity': dict(
        title='What the short runs depend on: the images of the tail, their quality, the precision',
        about='CE and stage 1 of GCL of [cifar10-short](cifar10-short.md) with one thing changed: '
              'other images in the tail (the next seed of the same rule), all images encoded once '
              'more at quality 50 (`tools/benchmark/reencode.py`), the pixels of the release '
              '(`tools/benchmark/cifar10_png.py`; the same images in the tail), or float32. '
              f'{IMAGES} Two rows have those. The result is that of the last epoch. The rows with '
              'other images in the tail and with the pixels of the release were run in float32, on a processor that has no bfloat16.',
        shows='The encoding of the copy takes about three points: with the pixels of the release CE ends '
              'at 63.41 (on the copy 60.78 in float32, 60.28 the mean in bfloat16) and stage 1 of GCL at '
              '71.28 (on the copy 68.04, the mean in bfloat16). A channel of the copy is off by 8.0 of '
              '255, root mean square (`reencode.py --against`); one more encoding moves it by 9.4 and takes another 2.8 points from CE and 2.3 from GCL. So about half '
              'of the 6.8 points that stage 1 of GCL lacks to the published number after 200 epochs on the '
              'copy would be the copy, if 200 epochs lose to it what 30 do: one seed. CE loses more: after 200 '
              'epochs it is at 67.31 on the copy and at 73.38 on the pixels of the release '
              '([ledger](../../results.md); one seed of each, the second in float32; published 70.70). Precision is no visible part: CE in float32 is half a point '
              'above the mean of CE in bfloat16, whose two seeds differ by as much. Nor is the choice '
              'of images: with others in the tail both methods end within half a point of their means, '
              'which is no more than two seeds differ by.',
        rows=[
            ('ce_resnet32_cifar10-short', 'CE', None),
            ('ce-subset1_resnet32_cifar10-short', 'other images in the tail', None),
            ('ce-q50_resnet32_cifar10-short', 'images of quality 50', None),
            ('ce-original_resnet32_cifar10-short', 'the pixels of the release', None),
            ('ce-float32_resnet32_cifar10-short', 'float32', None),
            ('gcl_resnet32_cifar10-short', 'GCL, stage 1', None),
            ('gcl-subset1_resnet32_cifar10-short', 'other images in the tail', None),
            ('gcl-q50_resnet32_cifar10-short', 'images of quality 50', None),
            ('gcl-original_resnet32_cifar10-short', 'the pixels of the release', None),
        ]),
    'cifar10-meta': dict(
        title='Learned sample weights on CIFAR-10-LT, factor 100, ResNet-32, 30 epochs',
        about='The schedule of [cifar10-short](cifar10-short.md): 30 epochs of batches of 128, '
              'bfloat16 with channels-last memory, the passes that learn the weights in float32. '
              'Where weights are learned, ten images a class are held out as the development set '
              'and the tail is cut from the others; the rows with tau = 0 train on the same '
              'images with the same class weights and learn nothing beside them, so that the '
              'difference to them is what the learned part adds. Meta-reweighting and the '
              'deferred rows weigh the last six epochs, the others all. Rows with one loss are '
              'the same until then, whatever tau, so that the runs with tau = 1 and 10, and those '
              'that learn with focal loss and LDAM, and the second seed of CE, went on from epoch '
              '20 of their controls. '
              f'{IMAGES} Published numbers are of 200 epochs: only the order of rows can be '
              'compared. The result is that of the last epoch. L2RW, both programs of Meta-Weight-Net, '
              'tau = 1 and the second seeds of CB-CE, deferred or not, and of CE, focal loss and LDAM, with tau = 0 '
              'and with meta-reweighting, are in float32, on a processor that has no bfloat16 ([what that changes](cifar10-sensitivity.md)).',
        shows='One or two seeds. The class weights do it, in the last epochs: '
              'deferred they take CE from 60 to 69, from the first epoch on they help the two '
              'rarest classes at the cost of the others. Meta-reweighting without its learned part '
              '(tau = 0; trained on ten images a class less) is no worse than deferred CB-CE. With '
              'the published tau the learned part is a few thousandths of the class weights and '
              'less, and it adds nothing that can be seen: with CE and seed 1, where run and control '
              'start from the same network, see the same images in the same crops and differ by '
              'the learned part alone, it is three test images of 10,000 (68.37 and 68.34), two of '
              'them of the two rarest classes. With focal loss and seed 1, likewise, it is one image '
              '(68.41 and 68.40): six more of the two rarest classes and five fewer of the others. With LDAM and '
              'seed 1 it is none (70.57 both): two fewer of the two rarest classes and two more of the others. The seed 0 was run before crops were the same in both, '
              'and learning ended 0.3 points above the control with CE and with focal loss and 0.5 '
              'with LDAM, and 1.1, 3.0 and 2.6 above on the two rarest classes; that is what '
              'other crops do: the same three controls, gone on with `--seed 1 --resume` from their '
              'checkpoint of epoch 20, alone in another folder, so that the images came in another '
              'order, ended at 69.44, 68.78 and 70.53, with 62.75, 63.20 and 72.45 on the two '
              'rarest. The published gains do not show in 30 epochs. With a hundred times the published '
              'step (tau = 1; seed 1, with the crops and the start of its control) the learned part is a '
              'fifth of the class weights in its first two epochs and less than a hundredth at the end; it '
              'moves 3.9 points to the two rarest classes (67.25 against 63.40), most of them from the '
              'most frequent one (75.9 against 84.7), and loses 0.2 overall. With a thousand times the '
              'published step, where the learned part is larger '
              'than the class weights at first and many weights are negative, the network falls '
              'apart in the first such epochs and does not recover. L2RW learns whole weights from '
              'the first epoch on, and 30 epochs are too few for it: at the end four of five '
              'images of a batch weigh nothing and one has more than a sixth of the weight, so that '
              'few images train the network, and it is still at 37. Meta-Weight-Net, with the values '
              "of its authors' program for noisy labels, learns that every sample weighs less: a "
              'weight is 0.55 in the mean at first, 0.10 after five epochs and 0.03 at the end, and '
              'the steps of the network shrink with it, as they are the mean of weight times loss. With '
              'the values of their program for imbalance the weights of a batch add up to its size, and the '
              'network of weights tells samples hardly apart: a weight lies 4 to 9 percent from 1 (standard '
              'deviation in a batch), and the row is one of CE, 58.43 against 60.01 of CE with the same seed, '
              'which had ten images a class more and bfloat16.',
        beside='published, 200 epochs (Jamal et al., CVPR 2020)',
        rows=[
            ('ce_resnet32_cifar10-short', 'CE', 70.36),
            ('cb-ce_resnet32_cifar10-short', 'CB-CE', 72.37),
            ('cb-ce-drw_resnet32_cifar10-short', 'CB-CE, deferred', None),
            ('l2rw_resnet32_cifar10-short', 'L2RW', 72.23),
            ('meta_weight_net_resnet32_cifar10-short', 'Meta-Weight-Net', 73.57),
            ('meta_weight_net-imbalance_resnet32_cifar10-short',
             "Meta-Weight-Net, its authors' program for imbalance", None),
            ('meta_reweight-tau0_resnet32_cifar10-short', 'CE, tau = 0', None),
            ('meta_reweight_resnet32_cifar10-short', 'Meta-reweighting, CE', 76.41),
            ('meta_reweight-tau1_resnet32_cifar10-short', 'Meta-reweighting, CE, tau = 1', None),
            ('meta_reweight-tau10_resnet32_cifar10-short', 'Meta-reweighting, CE, tau = 10', None),
            ('meta_reweight-focal-tau0_resnet32_cifar10-short', 'Focal, tau = 0', None),
            ('meta_reweight-focal_resnet32_cifar10-short', 'Meta-reweighting, focal', 78.90),
            ('meta_reweight-ldam-tau0_resnet32_cifar10-short', 'LDAM, tau = 0', None),
            ('meta_reweight-ldam_resnet32_cifar10-short', 'Meta-reweighting, LDAM', 80.00),
        ]),
    'tiny100-prompts': dict(
        title='Prompts on a frozen Vision Transformer, half of tiny100, factor 100',
        about='Fine-tuning without a download. A small Vision Transformer (32x32 images, patches '
              'of 4x4, four blocks of width 96) is trained on all images of every second of a '
              'hundred classes of Tiny ImageNet at 32x32 (`pretrain_vit_tiny50a`, once). It is '
              'frozen, and ten prompts a block are tuned on the other fifty classes, cut to a long '
              'tail of 500 to 5 images: 10 epochs in bfloat16, all rows from the same network. The '
              'published column is of ViT-B/16 with weights of ImageNet-21k on CIFAR-100 at factor '
              '100: only the order of its rows can be compared. The result is that of the last '
              'epoch.',
        beside='published on CIFAR-100-LT (Li et al., NeurIPS 2024)',
        shows='What carries over from the published table: GCL with deferred weights is far above '
              'CE, GNM with it is the best row in both seeds, most of all on the two rarest '
              'classes, and an epoch with GNM takes as long as without, one with SAM twice as '
              'long. What does not: under CE neither SAM nor GNM changes anything here. The '
              'frozen network is weak, so that CE finds no class of fewer than 20 images at all.',
        seconds=True,
        rows=[
            ('ce_vit_tiny50b', 'CE', 81.02),
            ('ce-sam_vit_tiny50b', 'CE + SAM', 82.48),
            ('ce-gnm_vit_tiny50b', 'CE + GNM', 82.50),
            ('gcl-drw_vit_tiny50b', 'GCL + DRW', 89.58),
            ('gnm_vit_tiny50b', 'GCL + DRW + GNM', 90.28),
        ]),
}


def run(study: str, seeds: list[int], command: str) -> list[Path]:
    """Train what is missing of the study; returns the folder of each seed."""
    folders = [WORK / study / f'seed{seed}' for seed in seeds]
    for seed, folder in zip(seeds, folders):
        for config, _, _ in STUDIES[study]['rows']:
            recipe.run(config, Options(work_dir=folder / config, resume=True, seed=seed,
                                       command=command))
    return folders


def collect(study: str, folders: list[Path], results: Path = RESULTS) -> None:
    """Copy the records of the study's configs, one file a config and seed."""
    target = results / 'records' / study
    target.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        for config, _, _ in STUDIES[study]['rows']:
            source = folder / config / 'evaluation.json'
            if source.is_file():
                record = read_record(source)
                path = target / f"{config}_seed{record['seed']}.json"
                path.write_text(source.read_text())
                print(f'{source} -> {_short(path)}')
                log = source.with_name(WEIGHTS_LOG)
                if log.is_file():
                    path.with_name(f'{path.stem}.{WEIGHTS_LOG}').write_text(log.read_text())


def records_of(study: str, config: str, results: Path = RESULTS) -> list[dict]:
    """The study's records of a config, by seed."""
    paths = sorted((results / 'records' / study).glob(f'{config}_seed*.json'))
    return sorted((read_record(path) for path in paths), key=lambda record: record['seed'])


def weight_logs(study: str) -> dict[str, list[dict]]:
    """The logs of learned weights beside the study's records, by method and seed."""
    found = {}
    for config, label, _ in STUDIES[study]['rows']:
        for path in sorted((RESULTS / 'records' / study).glob(f'{config}_seed*.{WEIGHTS_LOG}')):
            lines = read_weights_log(path)
            if lines and 'eps' in lines[0]:
                seed = path.name.split('_seed')[1].split('.')[0]
                found[f'{label}, seed {seed}'] = lines
    return found


def learned_part(study: str) -> list[str]:
    """The section on the size of the learned part of the weights; empty without logs."""
    logs = weight_logs(study)
    if not logs:
        return []
    rows = [(name, [relative_size(line) for line in lines],
             100 * statistics.mean(line['negative'] for line in lines))
            for name, lines in logs.items()]
    return ['', '## Size of the learned part', '',
            'The mean of |eps| over the mean of the class weights w_y, as averages over '
            f'{WEIGHTS_LOG}\'s intervals.', '', f'![size over epochs]({study}_weights.png)', '',
            '| run | first | median | last | negative weights, % |', '|---|---|---|---|---|',
            *(f'| {name} | {sizes[0]:.1e} | {statistics.median(sizes):.1e} | {sizes[-1]:.1e} | '
              f'{negative:.2f} |' for name, sizes, negative in rows)]


def each_seed(records: list[dict]) -> str:
    """'71.38, 70.02'; with precisions behind them where the records differ in that."""
    differ = len({r.get('precision') for r in records}) > 1
    return ', '.join(f"{r['overall']['accuracy']:.2f}"
                     + (f" ({r.get('precision', 'float32')})" if differ else '') for r in records)


def page(study: str, results: Path = RESULTS) -> str:
    """The page as Markdown, from the records below `results`."""
    spec = STUDIES[study]
    head = ['method', 'config', 'overall', 'each seed',
            *([spec['beside']] if 'beside' in spec else []), 'many', 'medium', 'few',
            'two rarest', 'ECE', 'best epoch', 'training, min']
    if spec.get('seconds'):
        head.append('s an epoch')
    lines = [f"# {spec['title']}", '', spec['about'], '',
             'Accuracy in percent on the balanced test set; ± is the standard deviation over the '
             'seeds. Many, medium and few: classes of more than 100, 20 to 100 and fewer than 20 '
             'training images, a group without classes stays empty. The best epoch on the test '
             'set stands beside the result and is not it.', '',
             f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    commands, hardware, used = [], set(), set()
    for config, label, beside in spec['rows']:
        records = records_of(study, config, results)

        def part(name):
            return spread([part_accuracy(r, name) for r in records], missing='')

        lines.append('| ' + ' | '.join([
            label, f'`{config}`', part('overall'),
            each_seed(records),
            *(['' if beside is None else f'{beside:.2f}'] if 'beside' in spec else []),
            part('many'), part('medium'), part('few'),
            spread([r['rarest']['accuracy'] for r in records], missing=''),
            spread([r['calibration']['overall']['ece'] for r in records], missing=''),
            ', '.join(f"{r['best']['accuracy']:.2f} at {r['best']['epoch']}" for r in records
                      if r['best']),
            ', '.join(f"{r['training_time'] / 60:.0f}" for r in records),
            *([', '.join(f"{r['training_time'] / r['epoch']:.1f}" for r in records)]
              if spec.get('seconds') else [])]) + ' |')
        for record in records:
            commands.append(record['command'])
            machine = record['hardware']
            hardware.add(json.dumps(machine, sort_keys=True))
            used.add(', '.join(f'{k} {v}' for k, v in sorted(record['versions'].items())))
    lines += ['', spec['shows']] if 'shows' in spec else []
    lines += learned_part(study)
    lines += ['', '## How', '', 'Commands (a recipe trains the stage it starts from first):', '',
              '```sh', *sorted(set(commands)), '```', '', 'Hardware: '
              + '; '.join(sorted(_machine(json.loads(text)) for text in hardware)) + '.', '',
              'Versions: ' + '; '.join(sorted(used)) + '.', '',
              f"Records: `{_short(results / 'records' / study)}/`. This page: "
              f"`{spec.get('command', f'python tools/benchmark/study.py {study}')}`.", '']
    return '\n'.join(lines)


def _short(path: Path) -> Path:
    """The path below the repository, if it is there."""
    path = Path(path).resolve()
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def _machine(hardware: dict) -> str:
    return ', '.join(f'{key} {value}' for key, value in hardware.items() if value is not None)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument('study', choices=sorted(STUDIES))
    arguments.add_argument('--collect', nargs='+', type=Path, default=[], metavar='FOLDER',
                           help='folders that hold the runs, one below each config name')
    arguments.add_argument('--run', action='store_true', help='train what is missing first')
    arguments.add_argument('--seeds', type=at_least(0), nargs='+', default=[0, 1, 2])
    arguments.add_argument('--threads', type=at_least(1), default=1)
    options = arguments.parse_args()
    folders = options.collect
    if options.run:
        torch.set_num_threads(options.threads)
        words = shlex.join(sys.argv[1:])
        folders = [*folders, *run(options.study, options.seeds,
                                  f'python tools/benchmark/study.py {words}')]
    absent = [folder for folder in folders if not folder.is_dir()]
    if absent:
        sys.exit(f'error: there is no folder {absent[0]}')
    collect(options.study, folders)
    target = PAGES / f'{options.study}.md'
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page(options.study))
    print(f'written to {target.relative_to(ROOT)}')
    logs = weight_logs(options.study)
    if logs:
        save(plot_sample_weights(logs), PAGES / f'{options.study}_weights.png')


if __name__ == '__main__':
    main()
