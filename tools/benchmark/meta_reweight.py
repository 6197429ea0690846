"""What learned sample weights cost: a meta step against a plain SGD step and double backward.

All steps run in one process, in turn, round after round, on copies of one ResNet and on the same
two batches; a round's ratio divides a step's block by the reference's block of the same round, the
result is the median of the rounds with its quartiles. Everything is in float32, once in contiguous
and once in channels-last memory, with batch norm in training mode. The steps:

- plain: forward, backward, update;
- meta: with sample weights w_y + eps, the pass at the weights shared with the real step, and the
  first four blocks run twice for the development batch, as in the configs;
- once: the same without `recompute`, all activations kept;
- apart: with a pass of its own for the real step;
- double: the derivative by differentiating through the virtual step, as public code has it;
- l2rw: learned from weights of zero, where the virtual step stays where it is.

    python tools/benchmark/meta_reweight.py --rounds 15 --out docs/results/meta_reweight.json
"""

import argparse
import copy
import itertools
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from mmengine.optim import OptimWrapper  # noqa: E402
from timing import interleaved, milliseconds, peaks, ratio, write_result  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from ltcls.commands.arguments import at_least  # noqa: E402
from ltcls.engine.device import keep_freed_memory  # noqa: E402
from ltcls.hooks import L2RWHook, MetaReweightHook  # noqa: E402
from ltcls.hooks.draws import Draws  # noqa: E402
from ltcls.hooks.meta_gradient import MetaGradient, load_forward_rules  # noqa: E402
from ltcls.longtail import exponential_counts  # noqa: E402
from ltcls.models import Classifier  # noqa: E402
from ltcls.registry import MODELS  # noqa: E402

# What a meta step may cost: in plain steps, and in parts of double backward's time and memory.
LIMITS = dict(plain=4.2, double=0.7, memory=0.6)


class DoubleBackwardHook(MetaReweightHook):
    """The same weights by differentiating twice; the real step makes its own pass."""

    def sample_weights(self, problem: MetaGradient) -> tuple[Tensor, dict[str, Tensor]]:
        classes = self.weights_of(problem.labels)
        return classes - self.tau * double_backward(problem, classes), {}


def double_backward(problem: MetaGradient, weights: Tensor) -> Tensor:
    """dL_D / dw [B] through the graph of the first gradient."""
    weights = weights.clone().requires_grad_()
    model, params = problem.model, problem.params
    rates = {id(p): group['lr'] for group in problem.optimizer.param_groups
             for p in group['params']}

    def call(values, batch, mode):
        copies = {name: buffer.clone() for name, buffer in model.named_buffers()}
        return torch.func.functional_call(model, {**copies, **values}, (), dict(batch, mode=mode))

    losses = call({}, problem.batch, 'loss')['loss']
    grads = torch.autograd.grad(problem.share * (weights * losses).sum(), list(params.values()),
                                create_graph=True)
    moved = {name: p - rates[id(p)] * grad for (name, p), grad in zip(params.items(), grads)}
    logits = call(moved, dict(inputs=problem.dev_batch['inputs']), 'tensor')
    return torch.autograd.grad(F.cross_entropy(logits, problem.dev_batch['labels']), weights)[0]


HOOKS = dict(
    plain=None, meta=MetaReweightHook(begin=0), once=MetaReweightHook(begin=0),
    apart=MetaReweightHook(begin=0, share_forward=False),
    double=DoubleBackwardHook(begin=0, share_forward=False), l2rw=L2RWHook(begin=0))


def classifier(options, channels_last: bool) -> nn.Module:
    model = MODELS.build(dict(
        type='ltcls.Classifier', backbone=dict(type='CIFARResNet', depth=options.depth),
        head=dict(type='LinearHead'), loss=dict(type='CrossEntropyLoss'),
        channels_last=channels_last, data_preprocessor=dict(
            type='BatchPreprocessor', num_classes=options.classes, mean=[0.5] * 3,
            std=[0.25] * 3)))
    model.bind(exponential_counts(500, options.classes, 100))
    return model.train()


def images(options, labels: Tensor, device) -> dict:
    size = (len(labels), 3, options.size, options.size)
    return dict(inputs=torch.randint(0, 256, size, dtype=torch.uint8, device=device),
                labels=labels.to(device))


def stepper(model: nn.Module, hook, batch: dict, dev: dict, iterations: int):
    """A function that makes `iterations` steps with the hook, or plain ones without."""
    wrapper = OptimWrapper(torch.optim.SGD(
        model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4, nesterov=True,
        fused=next(model.parameters()).is_cuda or None))
    runner = SimpleNamespace(model=model, optim_wrapper=wrapper, epoch=0, iter=0)
    if hook:
        hook.prepare(model, wrapper.optimizer)
        hook.dev, hook._batches = dev, itertools.repeat(dev)
        hook._draws = Draws(dev['inputs'].device, seed=0)

    def step():
        for number in range(iterations):
            data = dict(batch)
            if hook:
                hook.before_train_iter(runner, number, data)
            model.train_step(data, wrapper)
    return step


class DoubleClassifier(Classifier):
    """A classifier that computes in float64 what the toolbox's computes in float32."""

    def extract(self, inputs: Tensor) -> Tensor:
        return self.backbone(inputs)

    def logits(self, features: Tensor, head: dict[str, Tensor] | None = None) -> Tensor:
        return self.head(features)


def difference(model: nn.Module, batch: dict, dev: dict) -> float:
    """Relative norm of the difference between forward mode and double backward, in float64."""
    model = copy.deepcopy(model).double()
    model.__class__ = DoubleClassifier
    problem = MetaGradient(model, model.data_preprocessor(batch), model.data_preprocessor(dev),
                           torch.optim.SGD(model.parameters(), lr=1e-3))
    weights = torch.ones(len(batch['labels']), dtype=torch.float64,
                         device=next(model.parameters()).device)
    slow = double_backward(problem, weights)
    return float((problem.gradient(weights) - slow).norm() / slow.norm())


def problem(options, device, channels_last: bool) -> tuple[nn.Module, dict, dict]:
    """A network in one memory format, a long-tailed batch and a balanced one."""
    base = classifier(options, channels_last).to(device)
    shares = torch.tensor(exponential_counts(500, options.classes, 100), dtype=torch.float64)
    drawn = torch.multinomial(shares, options.batch_size, replacement=True)
    balanced = torch.arange(options.batch_size) % options.classes
    return base, images(options, drawn, device), images(options, balanced, device)


def steppers(options, base: nn.Module, batch: dict, dev: dict) -> dict:
    """Every step, on a copy of the network each."""
    hooks = copy.deepcopy(HOOKS)
    first = range(len(base.backbone.layer1))[:4]
    hooks['meta'].recompute = [f'backbone.layer1.{number}' for number in first]
    return {name: stepper(copy.deepcopy(base), hook, batch, dev, options.iterations)
            for name, hook in hooks.items()}


def steps(options, memory: dict[str, float], base: nn.Module, batch: dict, dev: dict) -> dict:
    """Times of every step in one memory format, beside its memory."""
    times = interleaved(steppers(options, base, batch, dev), options.rounds)
    found = {}
    for name, blocks in times.items():
        entry = dict(ms=round(milliseconds(blocks, options.iterations), 3),
                     peak_mib=round(memory[name], 1))
        for reference in ('plain', 'double'):
            low, middle, high = ratio(blocks, times[reference])
            entry[f'of_{reference}'] = dict(ratio=round(middle, 3),
                                            quartiles=[round(low, 3), round(high, 3)])
        entry['memory_of_double'] = round(memory[name] / max(memory['double'], 1e-9), 3)
        found[name] = entry
        print(f"  {name:8} {entry['ms']:10.3f} ms   of plain {entry['of_plain']['ratio']:6.3f}   "
              f"of double {entry['of_double']['ratio']:6.3f}   peak {entry['peak_mib']:8.1f} MiB, "
              f"of double {entry['memory_of_double']:6.3f}")
    meta = found['meta']
    reached = dict(plain=meta['of_plain']['ratio'], double=meta['of_double']['ratio'],
                   memory=meta['memory_of_double'])
    for name, limit in LIMITS.items():
        verdict = 'kept' if reached[name] <= limit else 'MISSED'
        print(f'  meta, {name}: {reached[name]} of at most {limit}: {verdict}')
    found['difference'] = difference(base, batch, dev)
    print(f"  in float64 forward mode differs from double backward by {found['difference']:.1e}")
    return found


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--depth', type=int, default=32, help='of the ResNet')
    parser.add_argument('--size', type=at_least(1), default=32, help='pixels a side')
    parser.add_argument('--classes', type=at_least(1), default=10)
    parser.add_argument('--batch-size', type=at_least(1), default=100)
    parser.add_argument('--rounds', type=at_least(2), default=15)
    parser.add_argument('--iterations', type=at_least(1), default=1, help='steps in a block')
    parser.add_argument('--threads', type=at_least(1), default=2)
    parser.add_argument('--out', type=Path, help='JSON file for the figures')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> dict:
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    load_forward_rules()
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    result = dict(depth=options.depth, batch_size=options.batch_size, classes=options.classes,
                  rounds=options.rounds, iterations=options.iterations, threads=options.threads,
                  limits=LIMITS)
    given = {name: problem(options, device, name == 'channels_last')
             for name in ('contiguous', 'channels_last')}
    memory = {name: peaks(steppers(options, *given[name])) for name in given}
    keep_freed_memory()
    for name in given:
        print(f'float32, {name}')
        result[name] = steps(options, memory[name], *given[name])
    write_result(result, options.out)
    return result


if __name__ == '__main__':
    main()
