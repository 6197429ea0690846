"""The classifier: weights on losses, mixing, frozen parts, precision, counts."""

import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import OptimWrapper
from torch import nn
from torch.testing import assert_close

from ltcls.longtail import Clock, LongTailModule
from ltcls.models import BatchPreprocessor, MixedLabels
from ltcls.registry import MODELS

COUNTS = [40, 20, 10, 5]
WEIGHTS = torch.tensor([0.2, 0.5, 1.0, 2.3])
LABELS = torch.tensor([0, 0, 1, 3, 2, 0])


class ToyBackbone(nn.Module):
    """Convolution, batch norm and pooling: 5 features."""

    num_features = 5

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.bn = nn.BatchNorm2d(5)
        self.seen = {}

    def forward(self, x):
        out = self.bn(self.conv(x))
        self.seen = dict(contiguous=x.is_contiguous(memory_format=torch.channels_last),
                         dtype=out.dtype)
        return F.relu(out).mean(dim=(2, 3))


class ToyExperts(LongTailModule):
    """Three linear experts: logits [B, 3, C]."""

    scale = 1.0

    def __init__(self, num_features, num_classes):
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(num_features, num_classes) for _ in range(3))

    def forward(self, features):
        return torch.stack([expert(features) for expert in self.experts], dim=1)


class ToyFeatureLoss(LongTailModule):
    """The squared length of the features; remembers what it was given."""

    logit_scale = 1.0
    uses_features = True

    def forward(self, logits, labels, features):
        self.given = SimpleNamespace(logits=logits, labels=labels, features=features)
        return features.square().sum(dim=1)


class ToyNoisyLoss(LongTailModule):
    """Cross-entropy of noisy logits, the noise drawn here or given."""

    logit_scale = 1.0
    uses_features = False

    def __init__(self, share_noise=True):
        super().__init__()
        self.share_noise = share_noise
        self.noises = []

    def draw_noise(self, logits):
        return torch.randn_like(logits)

    def forward(self, logits, labels, noise=None):
        noise = self.draw_noise(logits) if noise is None else noise
        self.noises.append(noise)
        return F.cross_entropy(logits + noise, labels, reduction='none')


def build(loss='CrossEntropyLoss', head='LinearHead', counts=COUNTS,
          backbone=dict(type=ToyBackbone), type='Classifier', **options):
    """A bound classifier of four classes with random weights, the same for every call."""
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type=type, backbone=backbone, head=as_config(head),
        loss=as_config(loss), data_preprocessor=dict(
            type='BatchPreprocessor', num_classes=4, mean=[0.5] * 3, std=[0.25] * 3), **options))
    if counts is not None:
        model.bind(counts)
    return model


def as_config(component):
    return component if isinstance(component, dict) else dict(type=component)


@pytest.fixture
def features():
    return torch.randn(6, 5, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (6, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return dict(inputs=images, labels=LABELS)


# -- weights --------------------------------------------------------------------------------


def test_losses_are_cross_entropy_a_sample(features):
    model = build()
    expected = F.cross_entropy(model.head(features), LABELS, reduction='none')
    assert_close(model.losses(features, LABELS), expected)


def test_the_batch_mean_under_class_weights_is_the_weighted_mean_of_torch(features):
    model = build()
    model.set_class_weights(WEIGHTS)
    logits = model.head(features).double()
    expected = F.cross_entropy(logits, LABELS, weight=WEIGHTS.double())
    assert_close(model.losses(features, LABELS).mean().double(), expected)


def test_the_plain_mean_divides_by_the_batch_size(features):
    model = build()
    model.set_class_weights(WEIGHTS, mean='plain')
    losses = F.cross_entropy(model.head(features).double(), LABELS, reduction='none')
    expected = (WEIGHTS.double()[LABELS] * losses).sum() / 6
    assert_close(model.losses(features, LABELS).mean().double(), expected)


def test_the_two_means_on_the_oracle_of_class_balanced_cross_entropy():
    # Counts 100, 10, 1 and beta = 0.9999: plain mean 0.821858, weighted mean 0.602175.
    model = build()
    logits = torch.tensor([[2, 1, 0, -1e9], [0.5, -0.5, 1, -1e9]])      # the fourth has no part
    model.logits = lambda features, head=None: logits
    for mean, expected in (('plain', 0.821858), ('weighted', 0.602175)):
        model.set_class_weights(torch.tensor([0.027159, 0.270369, 2.702472, 0]), mean=mean)
        losses = model.losses(torch.zeros(2, 5), torch.tensor([0, 2]))
        assert_close(losses.mean(), torch.tensor(expected), rtol=0, atol=2e-6)


def test_sample_weights_are_used_as_they_are(features):
    model, weights = build(), torch.tensor([0.0, 2.0, 1.0, 0.5, 3.0, 1.0])
    losses = model.losses(features, LABELS)
    assert_close(model.losses(features, LABELS, weights=weights), weights * losses)
    model.set_class_weights(WEIGHTS)
    both = model.losses(features, LABELS, weights=weights)
    assert_close(both, weights * model.losses(features, LABELS))


def test_no_class_weights_is_the_way_back(features):
    model = build()
    losses = model.losses(features, LABELS)
    model.set_class_weights(WEIGHTS)
    assert not torch.allclose(model.losses(features, LABELS), losses)
    model.set_class_weights(None)
    assert torch.equal(model.losses(features, LABELS), losses)


def test_class_weights_are_an_attribute_too(features):
    model, other = build(), build()
    assert model.class_weights is None
    model.class_weights = WEIGHTS
    other.set_class_weights(WEIGHTS)
    assert torch.equal(model.class_weights, WEIGHTS)
    assert torch.equal(model.losses(features, LABELS), other.losses(features, LABELS))
    model.class_weights = None
    assert model.class_weights is None
    with pytest.raises(ValueError, match=r'shape \[1\]; give one for each of the 4 classes'):
        model.class_weights = WEIGHTS[:1]
    assert model.class_weights is None


def test_an_unknown_mean_is_refused():
    with pytest.raises(ValueError, match="mean='sum'"):
        build().set_class_weights(WEIGHTS, mean='sum')


@pytest.mark.parametrize('mean', ['weighted', 'plain'])
@pytest.mark.parametrize('mixed', [False, True])
def test_pieces_of_a_batch_add_up_to_the_whole(features, mean, mixed):
    # The means of the weights stay those of the batch, also when classes are asked for one by one.
    model, weights = build(), torch.rand(6)
    model.set_class_weights(WEIGHTS, mean=mean)
    labels = MixedLabels(LABELS, LABELS.roll(1), torch.tensor(0.3)) if mixed else LABELS
    whole = model.losses(features, labels, weights=weights)
    for label in LABELS.unique():
        index = (LABELS == label).nonzero()[:, 0]
        piece = model.losses(features, labels, weights=weights, index=index)
        assert_close(piece, whole[index])


def test_replaced_head_parameters_act_like_another_head(features):
    model = build()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.head.weight += torch.randn(4, 5)
    weight = other.head.weight.detach().clone().requires_grad_()
    losses = model.losses(features, LABELS, head=dict(weight=weight))
    assert torch.equal(losses, other.losses(features, LABELS))
    losses.mean().backward()
    other.losses(features, LABELS).mean().backward()
    assert torch.equal(weight.grad, other.head.weight.grad)
    assert model.head.weight.grad is None


# -- mixing ---------------------------------------------------------------------------------


def test_the_loss_of_mixed_images_is_the_share_of_both_labels():
    # Worked out: logits of two samples, labels 0, 2 and 2, 0, share 0.3.
    model = build()
    logits = torch.tensor([[2, 1, 0], [0.5, -0.5, 1]])
    model.logits = lambda features, head=None: logits
    labels = MixedLabels(torch.tensor([0, 2]), torch.tensor([2, 0]), torch.tensor(0.3))
    losses = model.losses(torch.zeros(2, 5), labels)
    assert_close(losses.mean(), torch.tensor(1.380868), rtol=0, atol=1e-6)
    targets = torch.tensor([[0.3, 0, 0.7], [0.7, 0, 0.3]])
    assert_close(losses.mean(), F.cross_entropy(logits, targets))


def test_under_mixing_each_label_has_its_own_weighted_mean(features):
    model = build()
    model.set_class_weights(WEIGHTS)
    first, second = LABELS, LABELS.roll(1)
    mixed = model.losses(features, MixedLabels(first, second, torch.tensor(0.3))).mean()
    logits = model.head(features)
    expected = (0.3 * F.cross_entropy(logits, first, weight=WEIGHTS)
                + 0.7 * F.cross_entropy(logits, second, weight=WEIGHTS))
    assert_close(mixed, expected)


def test_a_penalty_averaged_by_class_has_the_classes_of_each_mixed_label(features):
    model = build(loss='LogitGradientPenalty')
    first, second = LABELS, torch.tensor([1, 1, 1, 1, 2, 2])
    weights = torch.rand(6)
    mixed = model.losses(features, MixedLabels(first, second, torch.tensor(0.3)), weights=weights)
    logits = model.head(features)

    def losses(labels, factors):      # factors are B / (K n_c)
        norms = (logits.softmax(dim=1) - F.one_hot(labels, 4)).square().sum(dim=1)
        return F.cross_entropy(logits, labels, reduction='none') + torch.tensor(factors) * norms

    expected = (0.3 * losses(first, [1/2, 1/2, 3/2, 3/2, 3/2, 1/2])
                + 0.7 * losses(second, [3/4, 3/4, 3/4, 3/4, 3/2, 3/2]))
    assert_close(mixed, weights * expected)


def test_shared_noise_is_drawn_once_for_both_labels(features):
    labels = MixedLabels(LABELS, LABELS.roll(1), torch.tensor(0.5))
    model = build(loss=ToyNoisyLoss)
    model.losses(features, labels)
    assert torch.equal(*model.loss.noises)
    model = build(loss=dict(type=ToyNoisyLoss, share_noise=False))
    model.losses(features, labels)
    assert not torch.equal(*model.loss.noises)


def test_gcl_with_shared_noise_is_the_mix_of_its_losses_at_that_noise(features):
    gcl = dict(type='GCLLoss', cloud_size=1.0, share_noise=True)
    model = build(loss=gcl, head=dict(type='CosineHead', scale=30))
    labels = MixedLabels(LABELS, LABELS.roll(1), torch.tensor(0.4))
    torch.manual_seed(5)
    losses = model.losses(features, labels)
    torch.manual_seed(5)
    logits = model.head(features)
    noise = model.loss.draw_noise(logits)
    first, second = (model.loss(logits, part, noise=noise) for part in labels[:2])
    assert_close(losses, 0.4 * first + 0.6 * second)


# -- what head and loss are told ------------------------------------------------------------


def test_the_loss_reads_the_scale_of_the_head():
    assert build(head=dict(type='CosineHead', scale=16)).loss.logit_scale == 16
    assert build().loss.logit_scale == 1


def test_counts_and_the_clock_reach_head_and_loss():
    model = build(loss='BalancedSoftmaxLoss', counts=None)
    told = []
    model.head.bind = told.append
    model.bind(COUNTS)
    assert told[0].tolist() == COUNTS and told[0].dtype == torch.float64
    model.set_clock(Clock(3, 10, 0.35))
    assert model.head.clock == model.loss.clock == Clock(3, 10, 0.35)


def test_the_clock_reaches_a_loss_inside_the_loss():
    model = build(loss=dict(type=Sum))
    model.set_clock(Clock(3, 10, 0.35))
    assert model.loss.part.clock == Clock(3, 10, 0.35)
    assert 'clock' not in vars(model.loss.other)


@pytest.mark.parametrize('kind', ['Classifier', 'AdversarialFeatureClassifier'])
def test_an_average_made_before_the_counts_are_known_follows_the_buffers(kind, batch):
    # As EMAHook makes it; class weights come epochs later.
    model = build(counts=None, type=kind)
    average = ExponentialMovingAverage(model)
    model.bind(COUNTS)
    model.set_class_weights(WEIGHTS)
    model.train_step(batch, OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)))
    for _ in range(2):
        average.update_parameters(model)
    assert_close(dict(average.module.named_buffers()), dict(model.named_buffers()))


def test_counts_travel_in_the_checkpoint():
    other = build(counts=None)
    assert other.class_counts.sum() == 0
    other.load_state_dict(build().state_dict())
    assert other.class_counts.tolist() == COUNTS


def test_class_weights_and_derived_buffers_do_not_travel():
    model = build(loss='BalancedSoftmaxLoss')
    model.set_class_weights(WEIGHTS)
    names = set(model.state_dict())
    assert not any('class_weights' in name for name in names) and not any(n.startswith('loss.') for n in names)


def test_counts_of_another_number_of_classes_name_the_key():
    with pytest.raises(ValueError, match=r'5 classes, the model 4.*num_classes=5'):
        build(counts=[1, 2, 3, 4, 5])


def test_a_loss_that_uses_features_gets_those_of_its_samples(features):
    model = build(loss=ToyFeatureLoss)
    index = torch.tensor([4, 1])
    assert_close(model.losses(features, LABELS, index=index), features[index].square().sum(dim=1))
    assert torch.equal(model.loss.given.features, features[index])
    assert torch.equal(model.loss.given.labels, LABELS[index])


# -- frozen parts ---------------------------------------------------------------------------


def train_steps(model, batch, steps=3):
    """SGD with momentum and weight decay over all parameters, as mmengine builds it."""
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9,
                                           weight_decay=0.1))
    for _ in range(steps):
        model.train()
        model.train_step(dict(batch), wrapper)


def test_a_frozen_backbone_stays_bit_for_bit_and_the_head_does_not(batch):
    model = build(frozen=['backbone'])
    before = copy.deepcopy(model.state_dict())
    train_steps(model, batch)
    after = model.state_dict()
    for name, value in before.items():
        same = torch.equal(after[name], value)
        assert same != name.startswith('head.'), name
    assert all(p.grad is None for p in model.backbone.parameters())


def test_shifted_batch_norm_moves_its_statistics_and_no_parameter(batch):
    model = build(frozen=['backbone'], frozen_bn='shift')
    before = copy.deepcopy(model.state_dict())
    train_steps(model, batch)
    moved = {name for name, value in model.state_dict().items()
             if not torch.equal(value, before[name])}
    assert moved == {'backbone.bn.running_mean', 'backbone.bn.running_var',
                     'backbone.bn.num_batches_tracked', 'head.weight', 'head.bias'}


def test_frozen_parts_are_in_eval_mode_inside_train():
    model = build(frozen=['backbone']).train()
    assert model.training and model.head.training
    assert not any(m.training for m in model.backbone.modules())
    shifted = build(frozen=['backbone'], frozen_bn='shift').train()
    assert [m for m in shifted.backbone.modules() if m.training] == [shifted.backbone.bn]
    assert not any(m.training for m in shifted.eval().modules())


def test_a_part_of_the_backbone_can_be_frozen_by_its_path(batch):
    model = build(frozen=['backbone.conv'])
    before = copy.deepcopy(model.state_dict())
    train_steps(model, batch)
    assert torch.equal(model.state_dict()['backbone.conv.weight'], before['backbone.conv.weight'])
    assert not torch.equal(model.state_dict()['backbone.bn.weight'], before['backbone.bn.weight'])


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="'backbone.layer9'.*its parts: .*backbone, head"):
        build(frozen=['backbone.layer9'])
    with pytest.raises(ValueError, match="frozen_bn='train'"):
        build(frozen_bn='train')
    with pytest.raises(ValueError, match="precision='float8'.*'bfloat16' or 'float16'"):
        build(precision='float8')


    for options in (dict(norm_eval=True, frozen=['backbone']), {}):
        with pytest.raises(ValueError, match="'shift' .* needs model.frozen, and model.norm_eval="):
            build(frozen_bn='shift', **options)


class Sum(ToyNoisyLoss):
    """A loss with a loss inside."""

    def __init__(self):
        super().__init__()
        self.part, self.other = ToyNoisyLoss(), nn.Identity()


class LearnedScale(nn.Linear):
    def __init__(self, num_features, num_classes):
        super().__init__(num_features, num_classes)
        self.scale = nn.Parameter(torch.ones(()))


class MeanLoss(LongTailModule):
    uses_features = False

    def forward(self, logits, labels):
        return F.cross_entropy(logits, labels)


class Unsaid(nn.Module):
    def __init__(self, num_features=5, num_classes=4):
        super().__init__()


class Unpooled(ToyBackbone):
    def forward(self, x):
        return self.bn(self.conv(x))


class Persistent(ToyNoisyLoss):
    def bind(self, class_counts):
        self.register_buffer('prior', class_counts / class_counts.sum())


def test_a_loss_that_has_taken_the_mean_is_refused(batch):
    # Class weights and sample weights would do nothing.
    model = build(loss=dict(type=MeanLoss))
    with pytest.raises(ValueError, match=r'model.loss: MeanLoss returned shape \[\] instead of one '
                                         r'loss a sample \[6\]: leave out the mean'):
        model(**model.data_preprocessor(batch, True), mode='loss')


def test_features_that_are_not_pooled_are_refused(batch):
    model = build(backbone=dict(type=Unpooled))
    with pytest.raises(ValueError, match=r'model.backbone: Unpooled returned features of shape '
                                         r'\[6, 5, 8, 8\] instead of \[B, 5\]: pool them'):
        model(**model.data_preprocessor(batch, True), mode='loss')


@pytest.mark.parametrize(('part', 'line'), [
    ('backbone', "model.backbone: Unsaid has no attribute 'num_features': set it to the length"),
    ('head', "model.head: Unsaid has no attribute 'scale': set it to 1.0"),
    ('loss', "model.loss: Unsaid has no attribute 'uses_features': derive it from ltcls.losses"),
])
def test_a_part_that_lacks_what_the_classifier_asks_for_is_named(part, line):
    with pytest.raises(TypeError, match=line):
        build(**{part: dict(type=Unsaid)})


def test_a_scale_that_losses_cannot_take_as_a_number_is_refused():
    with pytest.raises(TypeError, match='LearnedScale has a Parameter as scale, which losses need'):
        build(head=dict(type=LearnedScale))


def test_a_loss_whose_bind_makes_a_persistent_buffer_is_refused():
    # It could be trained, and then neither tested nor resumed.
    with pytest.raises(ValueError, match='model.loss: bind of Persistent .* persistent=False'):
        build(loss=dict(type=Persistent))


class StillUnmade(ToyNoisyLoss):
    def __init__(self):
        super().__init__()
        self.layer = nn.LazyLinear(3)

    def get_extra_state(self):
        return 'text'

    def set_extra_state(self, state):
        pass


def test_what_has_no_shape_yet_may_be_in_a_loss():
    build(loss=dict(type=StillUnmade))


# -- precision and memory layout ------------------------------------------------------------


def test_bfloat16_is_the_backbone_alone(batch):
    model = build(loss=ToyFeatureLoss, precision='bfloat16').train()
    data = model.data_preprocessor(dict(batch), True)
    model(**data, mode='loss')['loss'].mean().backward()
    assert model.backbone.seen['dtype'] == torch.bfloat16
    given = model.loss.given
    assert given.logits.dtype == given.features.dtype == torch.float32
    assert all(p.dtype == torch.float32 and p.grad.dtype == torch.float32
               for name, p in model.named_parameters() if p.grad is not None)


def test_head_and_loss_ignore_an_autocast_around_them(features):
    model = build()
    expected = model.losses(features, LABELS)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert model.head(features).dtype == torch.bfloat16      # the autocast is there
        assert torch.equal(model.losses(features, LABELS), expected)
        assert model.head(features).dtype == torch.bfloat16      # the autocast is there


def test_bfloat16_agrees_with_float32_to_its_precision(batch):
    exact, rounded = build().eval(), build(precision='bfloat16').eval()
    data = exact.data_preprocessor(dict(batch), False)
    assert_close(rounded.extract(data['inputs']), exact.extract(data['inputs']),
                 rtol=2e-2, atol=2e-2)


def test_channels_last_changes_the_memory_and_not_the_result(batch):
    plain, last = build().train(), build(channels_last=True).train()
    results = []
    for model in (plain, last):
        losses = model(**model.data_preprocessor(dict(batch), True), mode='loss')['loss']
        losses.mean().backward()
        results.append((losses, model.backbone.conv.weight.grad))
    assert last.backbone.seen['contiguous'] and not plain.backbone.seen['contiguous']
    assert_close(results[0], results[1], rtol=1e-4, atol=1e-6)


# -- modes and transforms -------------------------------------------------------------------


def test_prediction_averages_the_logits_of_experts(batch):
    model = build(head=ToyExperts, loss=ToyFeatureLoss).eval()
    [found] = model.test_step(dict(batch))
    inputs = model.data_preprocessor(dict(batch), False)['inputs']
    logits = [expert(model.extract(inputs)) for expert in model.head.experts]
    assert_close(found['scores'], (sum(logits) / 3).softmax(dim=1))
    assert torch.equal(found['labels'], LABELS)
    assert model(inputs).shape == (6, 3, 4)


def test_scores_are_the_softmax_of_the_logits(batch):
    model = build(head=dict(type='CosineHead', scale=30)).eval()
    [found] = model.val_step(dict(batch))
    inputs = model.data_preprocessor(dict(batch), False)['inputs']
    assert_close(found['scores'], model(inputs, mode='tensor').softmax(dim=1))


def test_a_training_step_follows_the_mean_of_the_losses(batch):
    # With plain SGD the head moves by minus the gradient of the batch mean.
    model = build(frozen=['backbone'])
    model.set_class_weights(WEIGHTS)
    before = model.head.weight.detach().clone()
    inputs = model.train().data_preprocessor(dict(batch), False)['inputs']
    logits = F.linear(model.extract(inputs), before.requires_grad_(), model.head.bias)
    F.cross_entropy(logits, LABELS, weight=WEIGHTS).backward()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.5))
    logs = model.train_step(dict(batch), wrapper)
    assert_close(model.head.weight, before - 0.5 * before.grad)
    assert_close(logs['loss'], F.cross_entropy(logits, LABELS, weight=WEIGHTS))


def test_the_whole_model_is_a_function_of_its_parameters_and_buffers(batch):
    model = build().train()
    data = model.data_preprocessor(dict(batch), False)
    state = {name: value.detach().clone() for name, value in
             [*model.named_parameters(), *model.named_buffers()]}
    before = copy.deepcopy(model.state_dict())
    kept = {name: value.clone() for name, value in state.items()}
    out = torch.func.functional_call(
        model, state, (data['inputs'],), dict(labels=LABELS, mode='loss'))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not torch.equal(state['backbone.bn.running_mean'], kept['backbone.bn.running_mean'])
    assert_close(out['loss'], model(data['inputs'], LABELS, mode='loss')['loss'])


def test_the_preprocessor_may_be_a_module():
    processor = BatchPreprocessor(num_classes=4, mean=[0.5] * 3, std=[0.25] * 3)
    model = MODELS.build(dict(
        type='Classifier', backbone=dict(type=ToyBackbone), head=dict(type='LinearHead'),
        loss=dict(type='CrossEntropyLoss'), data_preprocessor=processor))
    assert model.data_preprocessor is processor and len(model.class_counts) == 4


@pytest.mark.parametrize('frozen', [[], ['backbone'], ['backbone.layer1']])
def test_batch_norm_keeps_its_statistics_in_training_on_request(frozen):
    model = MODELS.build(dict(
        type='ltcls.Classifier', backbone=dict(type='CIFARResNet', depth=8),
        head=dict(type='LinearHead'), loss=dict(type='CrossEntropyLoss'), norm_eval=True,
        frozen=frozen, data_preprocessor=dict(type='BatchPreprocessor', num_classes=3,
                                              mean=[0.5] * 3, std=[0.25] * 3)))
    model.bind([3, 2, 1])
    model.train()
    before = {name: value.clone() for name, value in model.named_buffers()}
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    weight = model.backbone.conv1.weight.clone()
    model.train_step(dict(inputs=images, labels=torch.tensor([0, 1, 2, 0])),
                     OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)))
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    assert torch.equal(model.backbone.conv1.weight, weight) is ('backbone' in frozen)
    assert model.training
    assert not any(m.training for m in model.modules() if isinstance(m, nn.BatchNorm2d))
