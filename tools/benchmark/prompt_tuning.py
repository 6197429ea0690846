"""What a step of GNM-PT costs: ltcls against a bare loop, and with the network's gradients kept.

Three forms of the same step run in one process, in turn, on the same batch: `ltcls` trains the
classifier through its optim wrapper; `bare` is the shortest loop that computes the same (prompts,
clouded logits, noise on the weights, SGD); `graph` is `ltcls` with gradients for the whole network
instead of prompts and head alone, which are still all that is updated. A round's ratio divides
neighbours; the result is the median of the rounds. Memory is what a step needs above what is in
use before it.

    python tools/benchmark/prompt_tuning.py --out docs/results/prompt-tuning.json

is ViT-B/16 at 224x224, batches of 128, in bfloat16, meant for a GPU. Small sizes run anywhere:

    python tools/benchmark/prompt_tuning.py --vit vit_tiny_patch16_224 --image-size 32 \\
        --batch-size 4 --rounds 3 --iterations 1
"""

import argparse
import copy
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from timing import interleaved, milliseconds, peaks, ratio, write_result  # noqa: E402
from torch import nn  # noqa: E402

from ltcls.commands.arguments import at_least  # noqa: E402
from ltcls.longtail import exponential_counts  # noqa: E402
from ltcls.optim_wrappers import GNM  # noqa: E402
from ltcls.registry import MODELS  # noqa: E402

SGD = dict(lr=0.005, momentum=0.9, weight_decay=1e-3)
SCALE, MARGIN, RHO = 25, 0.1, 0.005


def gnm_pt(options) -> nn.Module:
    """The classifier of configs/gnm, its network with random weights."""
    model = MODELS.build(dict(
        type='ltcls.Classifier', precision=options.precision,
        backbone=dict(type='PromptedViT', name=options.vit, img_size=options.image_size,
                      init='normal', pool='prompts', feature_dropout=0.1),
        head=dict(type='CosineHead', scale=SCALE, init='normal'),
        loss=dict(type='GCLLoss', cloud_size=1.0, margin=MARGIN),
        data_preprocessor=dict(type='BatchPreprocessor', num_classes=options.classes,
                               mean=[0.5] * 3, std=[0.5] * 3)))
    model.bind(exponential_counts(500, options.classes, 100))
    return model.train()


def library_step(model: nn.Module, batch: dict):
    """A step by the classifier and GNM; gradients of what is not updated are dropped."""
    others = [p for p in model.backbone.model.parameters() if p.requires_grad]
    wrapper = GNM(torch.optim.SGD([model.backbone.prompts, model.head.weight], **SGD), rho=RHO)

    def step():
        model.train_step(batch, wrapper)
        for parameter in others:
            parameter.grad = None
    return step


def bare_step(model: nn.Module, batch: dict):
    """The same by hand; of the model it takes the weights."""
    vit, prompts, weight = model.backbone.model, model.backbone.prompts, model.head.weight
    sizes, dtype, share = model.loss.sizes, model.dtype, model.backbone.dropout.p
    optimizer = torch.optim.SGD([prompts, weight], **SGD)
    images, labels = batch['inputs'], batch['labels']
    count = vit.pos_embed.size(1)

    def step():
        x = images.float() / 127.5 - 1
        kept = [parameter.detach().clone() for parameter in (prompts, weight)]
        with torch.no_grad():
            for parameter in (prompts, weight):
                noise = torch.empty_like(parameter).normal_(0, 1 / 3)
                parameter.add_(noise.clamp_(-1, 1), alpha=RHO)
        with torch.autocast(x.device.type, dtype=dtype, enabled=dtype is not None):
            x = vit._pos_embed(vit.patch_embed(x))
            for index, block in enumerate(vit.blocks):
                fresh = prompts[index].expand(len(x), -1, -1)
                x = block(torch.cat([x[:, :count], fresh], dim=1))
            features = (vit.norm(x[:, :count])[:, 0] + x[:, count:].mean(dim=1)) / 2
        features = F.dropout(features.float(), share)
        cosines = F.normalize(features) @ F.normalize(weight).T
        clouds = (torch.randn_like(cosines) / 3).clamp_(-1, 1).abs_() * sizes
        lowered = cosines - clouds - MARGIN * F.one_hot(labels, len(weight))
        F.cross_entropy(SCALE * lowered, labels).backward()
        with torch.no_grad():
            for parameter, value in zip((prompts, weight), kept):
                parameter.copy_(value)
        optimizer.step()
        optimizer.zero_grad()
    return step


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--vit', default='vit_base_patch16_224', help='timm name')
    parser.add_argument('--image-size', type=at_least(1), default=224)
    parser.add_argument('--batch-size', type=at_least(1), default=128)
    parser.add_argument('--classes', type=at_least(1), default=100)
    parser.add_argument('--precision', default='bfloat16', choices=['float32', 'bfloat16'])
    parser.add_argument('--rounds', type=at_least(2), default=15)
    parser.add_argument('--iterations', type=at_least(1), default=10, help='steps in a block')
    parser.add_argument('--threads', type=at_least(1), default=2)
    parser.add_argument('--out', type=Path, help='JSON file for the figures')
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    size = (options.batch_size, 3, options.image_size, options.image_size)
    batch = dict(inputs=torch.randint(0, 256, size, dtype=torch.uint8, device=device),
                 labels=torch.randint(options.classes, (options.batch_size,), device=device))
    model = gnm_pt(options).to(device)
    kept = copy.deepcopy(model)
    kept.backbone.model.requires_grad_(True)
    steps = dict(ltcls=library_step(model, batch), bare=bare_step(copy.deepcopy(model), batch),
                 graph=library_step(kept, batch))
    blocks = {name: lambda step=step: [step() for _ in range(options.iterations)] and None
              for name, step in steps.items()}
    memory = peaks(steps)
    times = interleaved(blocks, options.rounds)

    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    result = dict(vit=options.vit, image_size=options.image_size, batch_size=options.batch_size,
                  classes=options.classes, precision=options.precision, rounds=options.rounds,
                  iterations=options.iterations, threads=options.threads, trained=trained,
                  parameters=sum(p.numel() for p in model.parameters()), steps={})
    for name, step in steps.items():
        low, middle, high = ratio(times[name], times['bare'])
        ms = milliseconds(times[name], options.iterations)
        found = result['steps'][name] = dict(
            ms=round(ms, 2), images_per_second=round(1000 * options.batch_size / ms, 1),
            ratio=round(middle, 4), quartiles=[round(low, 4), round(high, 4)],
            peak_mib=round(memory[name], 1))
        print(f"{name:6} {found['ms']:9.2f} ms   {found['images_per_second']:8.1f} images/s   "
              f"ratio {middle:.3f} ({low:.3f} to {high:.3f})   peak {found['peak_mib']:.0f} MiB")
    write_result(result, options.out)
    return result


if __name__ == '__main__':
    main()
