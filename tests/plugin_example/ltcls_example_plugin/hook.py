from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from ltcls.registry import HOOKS


def norm_ratio(head: nn.Module) -> float:
    """Largest over smallest norm of the class vectors, the rows of the head's weight [C, D]."""
    weight: Tensor = next(p for p in head.parameters() if p.ndim == 2)
    norms = weight.detach().norm(dim=1)
    return float(norms.max() / norms.min())


@HOOKS.register_module()
class ClassifierNormHook(Hook):
    """Logs after every epoch how unequal the classifier's class vectors are.

    Trained on a long tail, a linear classifier gives frequent classes longer vectors (Kang et al.,
    ICLR 2020, Sec. 4.2); a ratio near one means that it does not.
    """

    def after_train_epoch(self, runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        ratio = norm_ratio(model.head)
        runner.message_hub.update_scalar('train/class_norm_ratio', ratio)
        runner.logger.info(f'Largest class vector over smallest: {ratio:.3f}')
