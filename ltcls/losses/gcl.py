"""GCL: logits clouded by Gaussian noise, and its angular variant."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ltcls.longtail import log_cloud_sizes
from ltcls.registry import LOSSES

from .base import LongTailLoss

NOISE_STD = 1 / 3      # Li et al., CVPR 2022, Sec. 4.2: the clamp at 1 is three of them away


def cloud_sizes(class_counts: Tensor, cloud: str = 'log', exponent: float = 0.25) -> Tensor:
    """Cloud sizes before multiplication by the noise: 0 for the largest class, 1 for the rarest.

    Li et al., CVPR 2022, Eq. 9 ('log') and the ablation on cloud sizes. The paper names the other
    two without their formulas; these are the natural readings. A class without images
    counts as one image. Equal counts give zeros.

    Args:
        class_counts: training images a class, shape [C].
        cloud: 'log' for log n_max - log n, 'pow' for n_max ** exponent - n ** exponent, 'cos' for
            cos(pi / 2 * n / n_max); each divided by its largest value.
        exponent: of 'pow'; the paper has 1/3 and 1/4.

    Returns:
        float64, shape [C].

    Raises:
        ValueError: an unknown cloud, or an exponent that is not positive.
    """
    if exponent <= 0:
        raise ValueError(f'GCL got exponent={exponent}; use a positive one, e.g. 0.25.')
    counts = torch.as_tensor(class_counts, dtype=torch.float64).clamp(min=1)
    if cloud == 'log':
        return log_cloud_sizes(counts)
    if cloud == 'pow':
        sizes = counts.max() ** exponent - counts ** exponent
    elif cloud == 'cos':
        sizes = torch.cos(math.pi / 2 * counts / counts.max())
        sizes = sizes - sizes.min()      # cos(pi / 2) is 6e-17, which must not be stretched to 1
    else:
        raise ValueError(f"GCL got cloud='{cloud}'; use 'log', 'pow' or 'cos'.")
    return sizes / sizes.max().clamp(min=torch.finfo(torch.float64).tiny)


@LOSSES.register_module()
class GCLLoss(LongTailLoss):
    """Gaussian clouded logits: every cosine is lowered by noise that is larger for rarer classes.

    z_c = cos_c - cloud_size * |e_c| * size_c - margin * [c is the label], with e_c drawn from a
    normal distribution of standard deviation 1/3, clamped to [-1, 1]; then cross-entropy of
    logit_scale * z. Tail samples are kept out of the saturated softmax and go on contributing
    gradient. Test scores carry neither noise nor margin.

    Li et al., Long-tailed Visual Recognition via Gaussian Clouded Logit Adjustment, CVPR 2022,
    Eqs. 9-12. Paper and code differ; like the authors' code this draws one number a logit, takes
    its absolute value, and offers the margin and the focal factor (constant in the gradient) that
    the code uses in stage 2. The code's CIFAR value of `cloud_size` is 0.5, the paper's reading 1.

    Under mixup the classifier asks for the loss of both labels, and each call draws its own noise.
    With `share_noise` the classifier draws once, `noise = loss.draw_noise(logits)`, and hands it to
    both calls.

    Args:
        cloud_size: multiplier of the noise, in cosine units, at least 0.
        margin: taken from the label's cosine, in cosine units.
        focal_gamma: exponent of a focal factor (1 - p) ** focal_gamma; 0 for none.
        cloud: how the noise depends on the counts, 'log', 'pow' or 'cos' (see `cloud_sizes`).
        exponent: of cloud='pow'.
        noise_sign: 'abs', or 'signed' for noise that also raises logits.
        noise_shape: 'logit' for one draw a logit, 'sample' for one a sample.
        share_noise: one draw for both labels of a mixed image.

    Raises:
        ValueError: a negative size or exponent, or an unknown option.
    """

    def __init__(self, cloud_size: float = 1.0, margin: float = 0.0, focal_gamma: float = 0.0,
                 cloud: str = 'log', exponent: float = 0.25, noise_sign: str = 'abs',
                 noise_shape: str = 'logit', share_noise: bool = False):
        super().__init__()
        name = type(self).__name__
        if cloud_size < 0 or focal_gamma < 0:
            raise ValueError(f'{name} got cloud_size={cloud_size}, focal_gamma={focal_gamma}; '
                             'both must be at least 0.')
        if noise_sign not in ('abs', 'signed'):
            raise ValueError(f"{name} got noise_sign='{noise_sign}'; use 'abs' or 'signed'.")
        if noise_shape not in ('logit', 'sample'):
            raise ValueError(f"{name} got noise_shape='{noise_shape}'; use 'logit' or 'sample'.")
        cloud_sizes(torch.ones(2), cloud, exponent)      # an unknown cloud is reported here already
        self.cloud_size = cloud_size
        self.margin = margin
        self.focal_gamma = focal_gamma
        self.cloud = cloud
        self.exponent = exponent
        self.noise_sign = noise_sign
        self.noise_shape = noise_shape
        self.share_noise = share_noise

    def bind(self, class_counts: Tensor) -> None:
        sizes = cloud_sizes(class_counts, self.cloud, self.exponent)
        self.register_buffer('sizes', sizes.float(), persistent=False)

    def draw_noise(self, logits: Tensor) -> Tensor:
        """Fresh noise for `logits` [B, C], not clamped yet: shape [B, C], or [B, 1] by sample."""
        like = logits if self.noise_shape == 'logit' else logits[:, :1]
        return NOISE_STD * torch.randn_like(like)

    def forward(self, logits: Tensor, labels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Losses [B] of logits [B, C]; `noise` replaces the draw (see `draw_noise`)."""
        noise = self.draw_noise(logits) if noise is None else noise
        noise = noise.clamp(-1, 1)
        if self.noise_sign == 'abs':
            noise = noise.abs()
        clouded = self.clouded(logits, labels, noise)
        losses = F.cross_entropy(clouded, labels, reduction='none')
        if self.focal_gamma > 0:
            losses = (-torch.expm1(-losses)).detach() ** self.focal_gamma * losses
        return losses

    def clouded(self, logits: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        """Logits [B, C] under noise in [-1, 1]."""
        lowering = self.cloud_size * noise * self.sizes
        if self.margin:
            lowering = lowering + self.margin * F.one_hot(labels, logits.size(1))
        return logits - self.logit_scale * lowering


@LOSSES.register_module()
class AngularGCLLoss(GCLLoss):
    """GCL on angles: the noise turns features away from the class rows instead of lowering cosines.

    cos(theta_c) becomes cos(theta_c + a_c), a_c = pi / 2 * cloud_size * |e_c| * size_c, and the
    label's angle grows by the margin too. Needs a cosine head: logits are divided by `logit_scale`
    to recover the cosines.

    Li et al., Adjusting Logit in Gaussian Form for Long-Tailed Visual Recognition, IEEE TAI 2024;
    after the authors' code, whose constants are the defaults here.

    Args:
        cloud_size: share of a right angle that the noise can turn by.
        margin: added to the label's angle, in radians.
        easy_margin: turn only where the cosine is positive. Otherwise turn up to the angle pi and
            go on falling beyond it by sin(a), so that a larger angle never scores higher.
        options: cloud, exponent, focal_gamma, noise_sign, noise_shape, share_noise of `GCLLoss`.
    """

    def __init__(self, cloud_size: float = 0.5, margin: float = 0.0, easy_margin: bool = True,
                 **options):
        super().__init__(cloud_size=cloud_size, margin=margin, **options)
        self.easy_margin = easy_margin

    def clouded(self, logits: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        """Logits [B, C] after turning each angle by its noise in [-1, 1]."""
        cosines = logits / self.logit_scale
        turns = math.pi / 2 * self.cloud_size * noise * self.sizes
        if self.margin:
            turns = turns + self.margin * F.one_hot(labels, logits.size(1))
        # The slope of the root is infinite at 0: rounding may bring a cosine to 1 or beyond.
        sines = (1 - cosines.square()).clamp(min=torch.finfo(cosines.dtype).tiny).sqrt()
        turned = cosines * turns.cos() - sines * turns.sin()
        if self.easy_margin:
            turned = torch.where(cosines > 0, turned, cosines)
        else:
            turned = torch.where(cosines > -turns.cos(), turned, cosines - turns.sin())
        return self.logit_scale * turned
