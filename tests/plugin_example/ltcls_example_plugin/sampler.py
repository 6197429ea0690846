from torch import Tensor

from ltcls.registry import SAMPLERS
from ltcls.samplers.base import ClassSampler


@SAMPLERS.register_module()
class PowerSampler(ClassSampler):
    """Draws a class with probability proportional to n_c ** power.

    Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020,
    Eq. 1: power 1 is instance-balanced, 0.5 square-root, 0 class-balanced sampling.

    Args:
        power: in [0, 1] between balanced classes and the data as it is.
    """

    def __init__(self, dataset, power: float = 0.5, **kwargs):
        self.power = power
        super().__init__(dataset, **kwargs)

    def class_probabilities(self, class_counts: Tensor) -> Tensor:
        powers = class_counts.double() ** self.power * (class_counts > 0)
        return powers / powers.sum()
