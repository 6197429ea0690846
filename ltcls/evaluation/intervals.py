"""How far an accuracy measured on a few test images can be trusted."""

from math import sqrt
from statistics import NormalDist


def wilson_interval(correct: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a share, (low, high) in [0, 1].

    Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 1927. Unlike
    the normal approximation it stays inside [0, 1] and keeps a width when every image is right.

    Args:
        correct: images answered correctly, 0 to `total`.
        total: images tested, at least 1.
        level: coverage, in (0, 1).

    Raises:
        ValueError: no images, more correct than tested, or a level outside (0, 1).
    """
    if total < 1 or not 0 <= correct <= total:
        raise ValueError(f'{correct} correct of {total} images has no interval: at least one image '
                         'must be tested, and no more can be correct than were tested.')
    if not 0 < level < 1:
        raise ValueError(f'level={level} must lie in (0, 1), e.g. 0.95.')
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = correct / total
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    # The two ends are exact where rounding would miss them by a bit.
    low = 0.0 if correct == 0 else max(centre - half, 0.0)
    high = 1.0 if correct == total else min(centre + half, 1.0)
    return low, high
