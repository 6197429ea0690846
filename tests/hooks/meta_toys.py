"""Small problems for the tests of learned sample weights, and the slow way to solve them."""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import forward_ad

from ltcls.hooks.draws import Draws
from ltcls.models import BatchPreprocessor
from ltcls.registry import MODELS


class Toy(nn.Module):
    """Whatever gives logits, with the interface of the classifier."""

    dtype = class_weights = None

    def __init__(self, network, counts=(3, 2, 1)):
        super().__init__()
        self.network = network
        self.register_buffer('class_counts', torch.tensor(counts, dtype=torch.float64))
        self.passes = 0

    def forward(self, inputs, labels=None, weights=None, mode='tensor', losses=None):
        self.passes += losses is None
        logits = self.network(inputs) if losses is None else None
        if mode == 'tensor':
            return logits
        losses = self.per_sample(logits, labels) if losses is None else losses
        return dict(loss=losses if weights is None else weights * losses)

    @staticmethod
    def per_sample(logits, labels):
        return F.cross_entropy(logits, labels, reduction='none')


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


def linear():
    """The model of three classes and two features that the worked numbers belong to."""
    network = nn.Linear(2, 3).double()
    with torch.no_grad():
        network.weight.copy_(rows([0.2, -0.1], [0.0, 0.3], [-0.3, 0.1]))
        network.bias.zero_()
    return Toy(network).train()


BATCH = dict(inputs=rows([1.0, 0.5], [-0.5, 1.0], [0.8, -0.6], [0.2, 0.9]),
             labels=torch.tensor([0, 1, 0, 2]))
DEV = dict(inputs=rows([0.9, 0.1], [-0.2, 1.1], [-1.0, -0.4]), labels=torch.tensor([0, 1, 2]))
CLASS_WEIGHTS = rows(0.5, 1.0, 0.5, 1.5)


class Block(nn.Module):
    """Convolutions, batch norms in training mode, an in-place activation and dropout."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)
        self.dropout = dropout

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)) + x, inplace=True).mean(dim=(2, 3))
        return self.head(F.dropout(x, self.dropout, training=self.training))


def convolutional(dropout=0.0):
    torch.manual_seed(0)
    return Toy(Block(dropout).double()).train()


def images(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return dict(inputs=torch.randn(count, 2, 5, 5, dtype=torch.float64, generator=generator),
                labels=torch.arange(count) % 3)


def double_backward(model, batch, dev, weights, lr, share=1.0, dev_loss=F.cross_entropy):
    """dL_D / dw by differentiating through the virtual step, with a graph of the first gradient."""
    weights = weights.clone().requires_grad_()
    params = {name: p for name, p in model.named_parameters() if p.requires_grad}
    losses = functional(model, {}, batch, 'loss')['loss']
    grads = torch.autograd.grad(share * (weights * losses).sum(), list(params.values()),
                                create_graph=True)
    moved = {name: p - lr * g for (name, p), g in zip(params.items(), grads)}
    loss = dev_loss(functional(model, moved, dict(inputs=dev['inputs']), 'tensor'), dev['labels'])
    return torch.autograd.grad(loss, weights)[0]


def functional(model, parameters, batch, mode):
    copies = {name: buffer.clone() for name, buffer in model.named_buffers()}
    return torch.func.functional_call(model, {**copies, **parameters}, (), dict(batch, mode=mode))


def state(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


# -- real classifiers, and a hook before their step ---------------------------------------------

LABELS = torch.tensor([0, 0, 1, 3, 2, 0, 1, 3])


class ToyBackbone(nn.Module):
    """Convolution, batch norm, pooling; it counts its passes."""

    num_features = 5

    def __init__(self, norm=True, dropout=0.0):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.bn = nn.BatchNorm2d(5) if norm else nn.Identity()
        self.dropout, self.passes, self.masks = dropout, 0, []

    def forward(self, x):
        self.passes += 1
        x = F.relu(self.bn(self.conv(x)), inplace=True).mean(dim=(2, 3))
        kept = F.dropout(torch.ones_like(x), self.dropout, training=self.training)
        if self.dropout:
            self.masks.append(forward_ad.unpack_dual(kept).primal.detach().float() > 0)
        return x * kept


def classifier(loss='CrossEntropyLoss', head='LinearHead', mixing=None, norm=True, dropout=0.0,
               **options):
    """A bound classifier of four classes, always with the same weights."""
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='ltcls.Classifier', backbone=dict(type=ToyBackbone, norm=norm, dropout=dropout),
        head=dict(type=head), loss=dict(type=loss), data_preprocessor=BatchPreprocessor(
            num_classes=4, mean=[0.5] * 3, std=[0.25] * 3, mixing=mixing), **options))
    model.bind([40, 20, 10, 5])
    return model.train()


def photos(seed, size=8):
    """A batch as the loader hands it over."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(0, 256, (size, 3, 6, 6), generator=generator, dtype=torch.uint8)
    return dict(inputs=inputs, labels=LABELS[:size])


def run(hook, model, wrapper, steps=1, rank=None):
    """Steps with the hook, as the runner makes them; the weights [B] of the last.

    With a rank, it has this half of every batch.
    """
    bare = getattr(model, 'module', model)
    hook.prepare(bare, wrapper.optimizer)
    part = slice(None) if rank is None else slice(4 * rank, 4 * rank + 4)
    cut = lambda batch: {name: value[part] for name, value in batch.items()}     # noqa: E731
    runner = SimpleNamespace(model=model, optim_wrapper=wrapper, epoch=hook.begin, iter=0)
    hook.dev = hook if hook.learns else None
    hook._batches = (cut(photos(100 + number)) for number in range(steps))
    hook._draws = Draws(bare.class_counts.device, seed=0)
    for number in range(steps):
        batch = cut(photos(number))
        hook.before_train_iter(runner, number, batch)
        model.train_step(batch, wrapper)
    return batch['prepared']['weights']
