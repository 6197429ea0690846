"""Small models for the tests of optim wrappers: any function of parameters, and real classifiers."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import nn

from ltcls.longtail import Clock, LongTailModule
from ltcls.models import BatchPreprocessor
from ltcls.optim_wrappers import Objective
from ltcls.registry import MODELS

COUNTS = [40, 20, 10, 5]
LABELS = torch.tensor([0, 0, 1, 3, 2, 0, 1, 3])


class FunctionModel(BaseModel):
    """Losses [B] as `function(model, inputs, labels)` of float64 parameters given by name."""

    clock = Clock()

    def __init__(self, function, class_counts=(1,), **parameters):
        super().__init__()
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(value, dtype=torch.float64)))
        self.function = function
        self.register_buffer('class_counts', torch.tensor(class_counts, dtype=torch.float64))
        self.evaluations = 0

    def forward(self, inputs, labels, mode='loss'):
        self.evaluations += 1
        return dict(loss=self.function(self, inputs, labels))


def quadratic(model, inputs, labels):
    """Half the sum of inputs_j w_j^2, one row of `inputs` a sample; w may be split into weight, bias."""
    w = torch.cat([parameter.reshape(-1) for parameter in model.parameters()])
    return (inputs * w ** 2).sum(dim=1) / 2


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


def objective(model, inputs, labels=None):
    labels = torch.zeros(len(inputs), dtype=torch.int64) if labels is None else labels
    return Objective(model, dict(inputs=inputs, labels=labels))


def sgd(model, lr=0.1, **options):
    return torch.optim.SGD(model.parameters(), lr=lr, **options)


class ToyBackbone(nn.Module):
    """Convolution, batch norm and pooling: 5 features; `dropout` of the features."""

    num_features = 5

    def __init__(self, dropout=0.0, momentum=0.1):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.bn = nn.BatchNorm2d(5, momentum=momentum)
        self.unused = nn.Parameter(torch.ones(3))
        self.dropout = dropout

    def forward(self, x):
        x = F.relu(self.bn(self.conv(x))).mean(dim=(2, 3))
        return F.dropout(x, self.dropout, training=self.training)


class CountingLoss(LongTailModule):
    """Cross-entropy that counts the labels it has seen, in a buffer, as some losses do."""

    logit_scale = 1.0
    uses_features = False

    def __init__(self):
        super().__init__()
        self.register_buffer('seen', torch.zeros(()))

    def forward(self, logits, labels):
        self.seen.add_(len(labels))
        return F.cross_entropy(logits, labels, reduction='none')


def classifier(loss='CrossEntropyLoss', head='LinearHead', backbone=None, mixing=None, seed=0,
               **options):
    """A bound classifier of four classes with weights that depend on `seed` alone."""
    torch.manual_seed(seed)
    as_config = lambda part: part if isinstance(part, dict) else dict(type=part)   # noqa: E731
    model = MODELS.build(dict(
        dict(type='Classifier', backbone=backbone or dict(type=ToyBackbone), head=as_config(head),
             loss=as_config(loss), data_preprocessor=BatchPreprocessor(
                 num_classes=4, mean=[0.5] * 3, std=[0.25] * 3, mixing=mixing)), **options))
    model.bind(COUNTS)
    return model.train()


def batch(seed=2, size=8):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (size, 3, 6, 6), generator=generator, dtype=torch.uint8)
    return dict(inputs=images, labels=LABELS[:size])


def state(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
