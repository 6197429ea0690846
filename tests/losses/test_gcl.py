"""GCL and its angular variant against worked values."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ltcls.losses import AngularGCLLoss, GCLLoss
from ltcls.losses.gcl import cloud_sizes

COUNTS = [500, 200, 50, 10]
COSINES = torch.tensor([[0.30, 0.28, 0.22, 0.25],
                        [0.10, 0.15, 0.20, 0.18],
                        [-0.05, 0.02, 0.08, 0.12]], dtype=torch.float64)
LABELS = torch.tensor([0, 2, 3])
NOISE = torch.tensor([[0.30, -0.10, 0.20, -1.40],      # -1.40 is beyond the clamp
                      [-0.10, 0.15, 0.05, 0.30],
                      [0.00, -0.20, 0.10, -0.12]], dtype=torch.float64)
OTHER_NOISE = torch.tensor([[0.05, 0.10, -0.20, 0.30],
                            [0.40, -0.15, 0.10, 0.05],
                            [-0.30, 0.20, 0.00, 0.10]], dtype=torch.float64)


def bound(loss, class_counts=COUNTS, scale=1.0):
    """A loss that knows the counts and the scale, as the classifier makes it."""
    loss.logit_scale = scale
    loss.bind(torch.tensor(class_counts, dtype=torch.float64))
    return loss


def equal(actual, expected, atol=3e-6):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    assert_close(actual.detach().double(), expected, atol=atol, rtol=1e-6)


@pytest.mark.parametrize('cloud, exponent, expected', [
    ('log', 0.25, [0.000000000, 0.234224270, 0.588591910, 1.000000000]),
    ('pow', 1 / 3, [0.000000000, 0.361252795, 0.735481515, 1.000000000]),
    ('pow', 1 / 4, [0.000000000, 0.328123494, 0.701443876, 1.000000000]),
    ('cos', 0.25, [0.000000000, 0.809416393, 0.988175946, 1.000000000]),
])
def test_cloud_sizes_of_every_strategy(cloud, exponent, expected):
    equal(cloud_sizes(torch.tensor(COUNTS), cloud, exponent), expected, atol=1e-9)


@pytest.mark.parametrize('cloud', ['log', 'pow', 'cos'])
def test_equal_counts_have_no_cloud(cloud):
    equal(cloud_sizes(torch.tensor([7, 7, 7]), cloud), [0.0, 0.0, 0.0], atol=0)


@pytest.mark.parametrize('cloud', ['log', 'pow', 'cos'])
def test_a_class_without_images_counts_as_one_image(cloud):
    sizes = cloud_sizes(torch.tensor([500, 200, 0]), cloud)
    equal(sizes, cloud_sizes(torch.tensor([500, 200, 1]), cloud), atol=0)


@pytest.mark.parametrize('cloud', ['log', 'pow', 'cos'])
def test_cloud_sizes_do_not_need_sorted_classes(cloud):
    order = torch.tensor([2, 0, 3, 1])
    counts = torch.tensor(COUNTS)
    equal(cloud_sizes(counts[order], cloud), cloud_sizes(counts, cloud)[order], atol=0)


STAGES = [
    (30, dict(cloud_size=0.5),
     [0.337715939, 0.255982019, 0.662511071],
     [[0.300000000, 0.268288787, 0.161140809, -0.250000000],
      [0.100000000, 0.132433180, 0.185285202, 0.030000000],
      [-0.050000000, -0.003422427, 0.050570404, 0.060000000]],
     [[-2.866020926, 2.755317687, 0.110702752, 0.000000487],
      [0.599323959, 1.585726083, -2.258441114, 0.073391071],
      [0.190153055, 0.769050388, 3.885245435, -4.844448878]]),
    (30, dict(cloud_size=1.0),
     [0.242521540, 0.268941523, 1.268530148],
     [[0.300000000, 0.256577573, 0.102281618, -0.750000000],
      [0.100000000, 0.114866360, 0.170570404, -0.120000000],
      [-0.050000000, -0.026844854, 0.021140809, 0.000000000]],
     [[-2.153531539, 2.132704182, 0.020827357, 0.000000000],
      [0.919920004, 1.436949151, -2.358120584, 0.001251430],
      [0.627541763, 1.256976616, 5.303034558, -7.187552938]]),
    (20, dict(cloud_size=0.5, margin=0.1),
     [1.682425137, 1.656460397, 2.304192882],
     [[0.200000000, 0.268288787, 0.161140809, -0.250000000],
      [0.100000000, 0.132433180, 0.085285202, 0.030000000],
      [-0.050000000, -0.003422427, 0.050570404, -0.040000000]], None),
]


@pytest.mark.parametrize('scale, options, losses, clouded, gradient', STAGES)
def test_losses_logits_and_gradients_under_given_noise(scale, options, losses, clouded, gradient):
    cosines = COSINES.clone().requires_grad_()
    loss = bound(GCLLoss(**options), scale=scale)
    actual = loss(scale * cosines, LABELS, noise=NOISE)
    equal(actual, losses)
    equal(loss.clouded(scale * COSINES, LABELS, NOISE.clamp(-1, 1).abs()) / scale, clouded, 1e-7)
    if gradient is not None:
        actual.mean().backward()
        equal(cosines.grad, gradient, atol=1e-5)


def test_the_focal_factor_of_stage_two_is_constant_in_the_gradient():
    cosines = COSINES.clone().requires_grad_()
    loss = bound(GCLLoss(cloud_size=0.5, margin=0.1, focal_gamma=1.0), scale=20)
    mean = loss(20 * cosines, LABELS, noise=NOISE).mean()
    equal(mean, 1.594718016)
    mean.backward()
    equal(cosines.grad, [[-4.418147392, 3.954170398, 0.463852469, 0.000124525],
                         [1.381583175, 2.642944576, -4.365221967, 0.340694216],
                         [0.490536824, 1.245200464, 3.666190681, -5.401927968]], atol=1e-5)


@pytest.mark.parametrize('scale, options, expected', [
    (30, dict(cloud_size=0.5), 0.418736343),
    (30, dict(cloud_size=1.0), 0.593331070),
    (15, dict(cloud_size=1.0, margin=0.1, focal_gamma=1.0), 1.467141076),
    (30, dict(cloud_size=0.5, noise_sign='signed'), 4.597829474),
    (25, dict(cloud_size=1.0, margin=0.1), 2.302351570),
    (30, dict(cloud_size=0.0), 0.509041765),
])
def test_mean_loss_of_every_published_setting(scale, options, expected):
    equal(bound(GCLLoss(**options), scale=scale)(scale * COSINES, LABELS, noise=NOISE).mean(),
          expected)


def test_one_draw_a_sample():
    loss = bound(GCLLoss(cloud_size=0.5, noise_shape='sample'), scale=30)
    equal(loss(30 * COSINES, LABELS, noise=NOISE[:, :1]).mean(), 0.357813553)
    assert loss.draw_noise(COSINES).shape == (3, 1)


def test_class_weights_from_outside_give_the_weighted_mean_and_the_plain_mean():
    weights = torch.tensor([0.065985377, 0.160143603, 0.631076002, 3.142795017],
                           dtype=torch.float64)[LABELS]
    losses = bound(GCLLoss(margin=0.1), scale=25)(25 * COSINES, LABELS, noise=NOISE)
    equal((weights * losses).sum() / weights.sum(), 3.146794701)
    equal((weights * losses).mean(), 4.027746587)


def test_mixup_with_two_draws_and_with_one():
    loss = bound(GCLLoss(cloud_size=0.5), scale=30)
    logits, others, share = 30 * COSINES, torch.tensor([3, 0, 1]), 0.7
    first = loss(logits, LABELS, noise=NOISE).mean()
    fresh = loss(logits, others, noise=OTHER_NOISE).mean()
    shared = loss(logits, others, noise=NOISE).mean()
    equal(torch.stack([first, fresh, shared]), [0.418736343, 4.098696081, 7.405812636], atol=1e-5)
    equal(share * first + (1 - share) * fresh, 1.522724265)
    equal(share * first + (1 - share) * shared, 2.514859231)


def test_a_drawn_noise_handed_over_is_what_a_call_would_draw_itself():
    loss = bound(GCLLoss(cloud_size=0.5), scale=30)
    torch.manual_seed(3)
    drawn = loss(30 * COSINES, LABELS)
    torch.manual_seed(3)
    noise = loss.draw_noise(30 * COSINES)
    equal(loss(30 * COSINES, LABELS, noise=noise), drawn, atol=0)
    assert not torch.equal(loss(30 * COSINES, LABELS), drawn)


def test_without_noise_margin_and_focal_factor_it_is_cross_entropy():
    logits = 30 * COSINES
    losses = bound(GCLLoss(cloud_size=0.0), scale=30)(logits, LABELS)
    assert_close(losses, F.cross_entropy(logits, LABELS, reduction='none'))


def test_equal_counts_make_the_noise_vanish():
    logits = 30 * COSINES
    losses = bound(GCLLoss(cloud_size=1.0), [7, 7, 7, 7], scale=30)(logits, LABELS)
    assert_close(losses, F.cross_entropy(logits, LABELS, reduction='none'))


def test_noise_has_the_moments_of_a_clamped_normal():
    torch.manual_seed(0)
    noise = GCLLoss().draw_noise(torch.empty(1000, 1000)).double().clamp(-1, 1)
    # a million draws: standard errors 3e-4 and 2e-4
    assert noise.mean().abs() < 1.5e-3
    assert abs(noise.std().item() - 0.33250017) < 1e-3
    assert abs(noise.abs().mean().item() - 0.26570675) < 1e-3
    assert abs((noise.abs() == 1).double().mean().item() - 0.0027) < 3e-4


def test_noise_lowers_the_rarest_logit_by_its_mean_and_leaves_the_most_frequent_one():
    torch.manual_seed(0)
    loss = bound(GCLLoss(cloud_size=0.5), [100, 1], scale=30)
    logits = torch.zeros(200_000, 2)
    labels = torch.zeros(200_000, dtype=torch.int64)
    clouded = loss.clouded(logits, labels, loss.draw_noise(logits).clamp(-1, 1).abs())
    equal(clouded[:, 0].abs().max(), 0.0, atol=0)
    equal(clouded[:, 1].double().mean(), -30 * 0.5 * 0.26570675, atol=0.03)


def test_gradients_agree_with_finite_differences():
    logits = (10 * COSINES).requires_grad_()
    plain = bound(GCLLoss(cloud_size=0.5, margin=0.1), scale=10)
    assert torch.autograd.gradcheck(lambda z: plain(z, LABELS, noise=NOISE), logits)
    angular = bound(AngularGCLLoss(margin=0.1, easy_margin=False), scale=10)
    assert torch.autograd.gradcheck(lambda z: angular(z, LABELS, noise=NOISE), logits)


@pytest.mark.parametrize('loss', [GCLLoss(0.5, 0.1, 1.0), AngularGCLLoss(0.5, 0.1)])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(loss, dtype):
    bound(loss, scale=30)
    logits, noise = (30 * COSINES).float(), NOISE.float()
    expected = loss(logits, LABELS, noise=noise)
    with torch.autocast('cpu', dtype=dtype):
        actual = loss(logits, LABELS, noise=noise)
    assert actual.dtype == torch.float32
    assert_close(actual, expected, rtol=0, atol=0)


def test_binding_again_takes_the_new_counts_and_leaves_the_checkpoint_empty():
    loss = bound(bound(GCLLoss()), [1, 100])
    equal(loss.sizes, [1.0, 0.0], atol=0)
    assert loss.sizes.dtype == torch.float32
    assert not loss.state_dict()


# -- the angular variant --------------------------------------------------------------------


def test_angular_loss_and_turned_cosines_under_given_noise():
    loss = bound(AngularGCLLoss(), scale=30)
    equal(loss(30 * COSINES, LABELS, noise=NOISE).mean(), 0.504441764)
    turned = loss.clouded(30 * COSINES, LABELS, NOISE.clamp(-1, 1).abs()) / 30
    equal(turned, [[0.300000000, 0.262293526, 0.128998197, -0.507876502],
                   [0.100000000, 0.122664660, 0.177301640, -0.054605824],
                   [-0.050000000, -0.016789740, 0.033851211, 0.026039159]], atol=1e-7)


def test_angular_noise_adds_to_the_angle():
    angles = torch.tensor([[0.3, 1.2], [2.0, 0.9]], dtype=torch.float64)
    loss = bound(AngularGCLLoss(cloud_size=0.5, margin=0.2, easy_margin=False), [100, 1], scale=30)
    noise = torch.tensor([[0.4, 0.4], [0.1, 0.6]], dtype=torch.float64)
    added = torch.tensor([[0.2, math.pi / 4 * 0.4], [0.2, math.pi / 4 * 0.6]], dtype=torch.float64)
    turned = loss.clouded(30 * angles.cos(), torch.tensor([0, 0]), noise)
    equal(turned / 30, (angles + added).cos(), atol=1e-7)


def test_without_easy_margin_a_larger_angle_never_scores_higher():
    angles = torch.linspace(0, math.pi, 2001, dtype=torch.float64)
    loss = bound(AngularGCLLoss(cloud_size=1.0, easy_margin=False), [100, 1], scale=1)
    logits = angles.cos()[:, None].expand(-1, 2)
    for level in (0.1, 0.5, 1.0):
        turned = loss.clouded(logits, torch.zeros(2001, dtype=torch.int64),
                              torch.full((2001, 2), level, dtype=torch.float64))[:, 1]
        assert (turned.diff() <= 1e-9).all()


def test_a_cosine_of_one_has_a_finite_gradient():
    logits = torch.tensor([[30.0, 30.0001], [-30.0, 30.0]], requires_grad=True)
    loss = bound(AngularGCLLoss(margin=0.1), [100, 1], scale=30)
    losses = loss(logits, torch.tensor([0, 1]), noise=torch.full((2, 2), 0.5))
    losses.sum().backward()
    assert losses.isfinite().all() and logits.grad.isfinite().all()


@pytest.mark.parametrize('options, message', [
    (dict(cloud_size=-1), 'cloud_size=-1'), (dict(cloud='sqrt'), "cloud='sqrt'"),
    (dict(noise_sign='negative'), 'noise_sign'), (dict(noise_shape='batch'), 'noise_shape'),
    (dict(cloud='pow', exponent=0), 'exponent=0'), (dict(focal_gamma=-1), 'focal_gamma=-1')])
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        GCLLoss(**options)
