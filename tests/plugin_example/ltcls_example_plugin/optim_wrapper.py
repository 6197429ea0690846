from mmengine.optim import OptimWrapper

from ltcls.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class CentralizedOptimWrapper(OptimWrapper):
    """Removes the mean of each output unit's gradient before the step.

    Yong et al., Gradient Centralization: A New Optimization Technique for Deep Neural Networks,
    ECCV 2020, Eq. 1. Vectors (biases, batch norm) keep their gradient.
    """

    def step(self, **kwargs) -> None:
        for group in self.optimizer.param_groups:
            for parameter in group['params']:
                if parameter.grad is not None and parameter.grad.ndim > 1:
                    axes = tuple(range(1, parameter.grad.ndim))
                    parameter.grad.sub_(parameter.grad.mean(dim=axes, keepdim=True))
        super().step(**kwargs)
