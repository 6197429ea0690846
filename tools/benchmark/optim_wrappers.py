"""What perturbed gradients cost: each optim wrapper against a plain SGD step.

All steps run in one process, in turn, round after round, on copies of the same network and on the
same batch; a round's ratio divides a wrapper's block by the plain block of the same round, the
result is the median of the rounds with its quartiles. Beside each wrapper runs the straightforward
form: a loop over parameters (GNM, SAM) or over classes (CC-SAM). Three parts:

- steps of a whole network: `--network resnet32` or `vit`, the frozen ViT-B/16 of GNM-PT with ten
  prompts a block, where the plain step is prompt tuning;
- the wrapper's own work, without the passes, in updates of plain SGD;
- the head of CC-SAM alone, closed form against the loop, at 10, 100 and 1,000 classes.

    python tools/benchmark/optim_wrappers.py --rounds 15 --out docs/results/wrappers.json
    python tools/benchmark/optim_wrappers.py --network vit --parts steps --wrappers GNM SAM \
        --classes 100 --batch-size 8 --iterations 1 --out docs/results/wrappers-vit.json
"""

import argparse
import copy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch  # noqa: E402
from mmengine.optim import OptimWrapper  # noqa: E402
from timing import interleaved, milliseconds, peaks, ratio, write_result  # noqa: E402
from torch import nn  # noqa: E402

from ltcls.commands.arguments import at_least  # noqa: E402
from ltcls.engine.device import keep_freed_memory  # noqa: E402
from ltcls.longtail import exponential_counts  # noqa: E402
from ltcls.models.heads import LinearHead  # noqa: E402
from ltcls.optim_wrappers import CCSAM, GNM, SAM, ImbSAM, Objective  # noqa: E402
from ltcls.registry import MODELS  # noqa: E402

# What a wrapper may cost, in plain steps on the same network and batch.
LIMITS = dict(resnet32=dict(GNM=1.05, SAM=2.05, CCSAM=1.05), vit=dict(GNM=1.02, SAM=2.05))
HEADS = ((10, 64), (100, 64), (1000, 512))
OWN = 10      # perturbations in a step's place: one alone is too short


class LoopGNM(GNM):
    """GNM parameter by parameter."""

    def accumulate_grad(self, objective):
        kept = {}
        with torch.no_grad():
            for parameter in self.params:
                kept[parameter] = parameter.clone()
                noise = torch.normal(0, self.sigma, parameter.shape, device=parameter.device)
                parameter.add_(self.rho * noise.clamp(-1, 1))
        self.backward(objective().mean())
        with torch.no_grad():
            for parameter, value in kept.items():
                parameter.copy_(value)


class LoopSAM(SAM):
    """SAM parameter by parameter."""

    def accumulate_grad(self, objective):
        objective().mean().backward()
        used = [p for p in self.params if p.grad is not None]
        norm = torch.stack([p.grad.norm() for p in used]).norm()
        kept = {}
        with torch.no_grad():
            for parameter in used:
                kept[parameter] = parameter.clone()
                parameter.add_(parameter.grad * (self.rho / (norm + 1e-12)))
                parameter.grad = None
        self.backward(objective().mean())
        with torch.no_grad():
            for parameter, value in kept.items():
                parameter.copy_(value)


class OpaqueHead(LinearHead):
    """A linear head that does not say so: CC-SAM takes the loop over classes."""


def classifier(backbone: dict, classes: int, head: str | type = 'LinearHead') -> nn.Module:
    model = MODELS.build(dict(
        type='ltcls.Classifier', backbone=backbone, head=dict(type=head),
        loss=dict(type='CrossEntropyLoss'), data_preprocessor=dict(
            type='BatchPreprocessor', num_classes=classes, mean=[0.5] * 3, std=[0.25] * 3)))
    model.bind(exponential_counts(500, classes, 100))
    return model.train()


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    """As a run has it: fused on a GPU."""
    params = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.SGD(params, lr=1e-3, momentum=0.9, weight_decay=2e-4,
                           fused=params[0].is_cuda or None)


def labels_of(classes: int, size: int) -> torch.Tensor:
    """Labels as a long-tailed loader draws them."""
    shares = torch.tensor(exponential_counts(500, classes, 100), dtype=torch.float64)
    return torch.multinomial(shares, size, replacement=True)


def network_steps(options, device) -> dict:
    """A function for each wrapper that makes steps of the whole network."""
    if options.network == 'vit':
        size = options.image_size
        backbone = dict(type='PromptedViT', name=options.vit, img_size=size, init='normal',
                        pool='prompts', feature_dropout=0.1)
    else:
        backbone, size = dict(type='CIFARResNet', depth=options.depth), 32
    base = classifier(backbone, options.classes).to(device)
    batch = dict(inputs=torch.randint(0, 256, (options.batch_size, 3, size, size),
                                      dtype=torch.uint8, device=device),
                 labels=labels_of(options.classes, options.batch_size).to(device))
    wrappers = dict(plain=(OptimWrapper, {}), GNM=(GNM, {}), GNM_loop=(LoopGNM, {}), SAM=(SAM, {}),
                    SAM_loop=(LoopSAM, {}), ImbSAM=(ImbSAM, dict(threshold=20)),
                    CCSAM=(CCSAM, {}), CCSAM_loop=(CCSAM, {}))

    wrappers = {name: wrapper for name, wrapper in wrappers.items()
                if name == 'plain' or name.removesuffix('_loop') in options.wrappers}

    def stepper(name):
        method, arguments = wrappers[name]
        model = copy.deepcopy(base)
        if name == 'CCSAM_loop':
            model.head.__class__ = OpaqueHead
        wrapper = method(sgd(model), **arguments)

        def step():
            for _ in range(options.iterations):
                model.train_step(batch, wrapper)
        return step

    return {name: stepper(name) for name in wrappers}


def own_work(options, device) -> dict:
    """Functions that update, or perturb and restore, without the passes."""
    model = classifier(dict(type='CIFARResNet', depth=options.depth), options.classes).to(device)
    optimizer = sgd(model)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    grads = [parameter.grad.clone() for parameter in model.parameters()]
    gnm, sam = GNM(optimizer), SAM(optimizer)
    gnm.choose(model), sam.choose(model)

    def weight_noise():
        with gnm.perturbed(gnm.noise(gnm._draw), alpha=gnm.rho):
            pass

    def ascent():
        with sam.perturbed(sam.offsets(grads, 0.05)):
            pass

    return {name: lambda function=function: [function() for _ in range(OWN * options.iterations)]
            for name, function in dict(sgd=optimizer.step, GNM=weight_noise, SAM=ascent).items()}


def cc_sam_heads(options, device) -> dict:
    """Functions for forward, perturbed forward and backward of each head."""
    found = {}
    for classes, dim in options.heads:
        features = torch.randn(options.batch_size, dim, device=device)
        labels = labels_of(classes, options.batch_size).to(device)

        def stepper(head, method):
            torch.manual_seed(0)
            model = classifier(dict(type=FeatureTable, num_features=dim), classes, head).to(device)
            wrapper = method(sgd(model))
            leaf = features.clone().requires_grad_()
            given = dict(inputs=leaf, labels=labels)
            if method is CCSAM:
                wrapper.choose(model)

            def step():
                for _ in range(options.iterations):
                    objective = Objective(model, given)
                    if method is CCSAM:
                        wrapper.accumulate_grad(objective)
                    else:
                        objective().mean().backward()
                    model.zero_grad()
            return step

        name = f'{classes} classes x {dim} features, {len(labels.unique())} in the batch'
        found[name] = dict(closed=stepper('LinearHead', CCSAM), loop=stepper(OpaqueHead, CCSAM),
                           plain=stepper('LinearHead', OptimWrapper))
    return found


class FeatureTable(nn.Module):
    """The input is the features."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features

    def forward(self, features):
        return features


def report(times: dict, reference: str, iterations: int, limits: dict | None = None,
           memory: dict | None = None) -> dict:
    """Print and return milliseconds, ratio with quartiles, limit and peak memory of each."""
    found = {}
    for name, blocks in times.items():
        low, middle, high = ratio(blocks, times[reference])
        entry = dict(ms=round(milliseconds(blocks, iterations), 3), ratio=round(middle, 3),
                     quartiles=[round(low, 3), round(high, 3)])
        line = (f"  {name:12} {entry['ms']:10.3f} ms   ratio {middle:7.3f} "
                f'({low:.3f} to {high:.3f})')
        if memory:
            entry['peak_mib'] = round(memory[name], 1)
            line += f"   peak {entry['peak_mib']:8.1f} MiB"
        if limits and name in limits:
            entry['limit'] = limits[name]
            line += f"   at most {limits[name]}: {'kept' if middle <= limits[name] else 'MISSED'}"
        found[name] = entry
        print(line)
    return found


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--parts', nargs='+', default=['steps', 'own', 'heads'],
                        choices=['steps', 'own', 'heads'])
    parser.add_argument('--network', choices=['resnet32', 'vit'], default='resnet32')
    parser.add_argument('--depth', type=int, default=32, help='of the ResNet')
    parser.add_argument('--vit', default='vit_base_patch16_224', help='timm name of the ViT')
    parser.add_argument('--image-size', type=at_least(1), default=224, help='for the ViT')
    parser.add_argument('--wrappers', nargs='+', default=['GNM', 'SAM', 'ImbSAM', 'CCSAM'],
                        choices=['GNM', 'SAM', 'ImbSAM', 'CCSAM'], help='for the network')
    parser.add_argument('--classes', type=at_least(1), default=10)
    parser.add_argument('--batch-size', type=at_least(1), default=128)
    parser.add_argument('--heads', type=lambda text: tuple(map(int, text.split('x'))), nargs='+',
                        default=HEADS, help='classes x features, such as 1000x512')
    parser.add_argument('--rounds', type=at_least(2), default=15)
    parser.add_argument('--iterations', type=at_least(1), default=3, help='steps in a block')
    parser.add_argument('--threads', type=at_least(1), default=2)
    parser.add_argument('--out', type=Path, help='JSON file for the figures')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> dict:
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    result = dict(network=options.network, batch_size=options.batch_size, classes=options.classes,
                  rounds=options.rounds, iterations=options.iterations, threads=options.threads)
    heads = cc_sam_heads(options, device) if 'heads' in options.parts else {}
    steps = network_steps(options, device) if 'steps' in options.parts else {}
    memory = {name: peaks(functions) for name, functions in dict(heads, steps=steps).items()}
    keep_freed_memory()
    if steps:
        print('steps of the network, in plain steps')
        result['steps'] = report(interleaved(steps, options.rounds), 'plain', options.iterations,
                                 LIMITS[options.network], memory['steps'])
    if 'own' in options.parts:
        print('own work, in updates of plain SGD')
        result['own'] = report(interleaved(own_work(options, device), options.rounds), 'sgd',
                               OWN * options.iterations, dict(GNM=2.5))
    if heads:
        print('CC-SAM heads, in the closed form')
        result['heads'] = {}
    for name, functions in heads.items():
        print(name)
        result['heads'][name] = report(interleaved(functions, options.rounds), 'closed',
                                       options.iterations, memory=memory[name])
    write_result(result, options.out)
    return result


if __name__ == '__main__':
    main()
