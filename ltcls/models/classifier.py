"""The classifier: backbone, head and loss, and the weights that go on the losses."""

from contextlib import nullcontext
from typing import Sequence

import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ltcls.longtail import Clock, LongTailModule
from ltcls.optim_wrappers import Objective, PerturbedOptimWrapper
from ltcls.registry import LOSSES, MODELS

from .capture import capture, check_capture, own_gradients
from .mixing import MixedLabels

PRECISIONS = {None: None, 'float32': None, 'bfloat16': torch.bfloat16, 'float16': torch.float16}


@MODELS.register_module()
class Classifier(BaseModel):
    """Backbone -> features [B, D] -> head -> logits [B, C] -> one loss a sample [B].

    The backbone runs in `precision`; head and loss always run in float32, where a scale of 30 or a
    margin of 0.01 still counts.

    Args:
        backbone, head: modules by name; the head is given `num_features` and `num_classes`.
        loss: loss by name.
        data_preprocessor: by name; it states `num_classes`.
        frozen: parts by path ('backbone', 'backbone.layer1', 'head') that do not train: no
            gradients, and eval mode inside `train()`.
        frozen_bn: what batch norm inside frozen parts does: 'eval' keeps its statistics, 'shift'
            lets them follow the data (Zhong et al., CVPR 2021, Sec. 3.3).
        norm_eval: batch norm normalises by its running statistics in training too, and keeps them,
            as for fine-tuning on a few images.
        precision: None (float32) or 'bfloat16', in training and testing, on GPU and CPU; or
            'float16', which needs an optim wrapper that scales the loss.
        channels_last: memory layout of the backbone and its inputs.
        compile: run the backbone through `torch.compile`; True for inductor, or a backend by name.
        cuda_graphs: replay the backbone's kernels as CUDA graphs, with or without `compile`.

    Raises:
        ValueError: an unknown part in `frozen`, precision or `frozen_bn`; `frozen_bn='shift'` with
            nothing frozen, or with `norm_eval`, which stops it; CUDA graphs without a GPU; or a
            head of experts whose number the backbone does not have.
        TypeError: a module without the attributes that its part has.
    """

    class_counts: Tensor
    clock: Clock = Clock()
    bound = False       # whether it has been told the class counts

    def __init__(self, backbone: dict, head: dict, loss: dict,
                 data_preprocessor: dict | nn.Module, frozen: Sequence[str] = (),
                 frozen_bn: str = 'eval', norm_eval: bool = False, precision: str | None = None,
                 channels_last: bool = False, compile: bool | str = False,
                 cuda_graphs: bool = False):
        # mmengine would look it up in its own registry, unless a runner has set the default scope.
        if isinstance(data_preprocessor, dict):
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor=data_preprocessor)
        if precision not in PRECISIONS:
            raise ValueError(
                f"model.precision='{precision}' must be None, 'bfloat16' or 'float16'.")
        if frozen_bn not in ('eval', 'shift'):
            raise ValueError(f"model.frozen_bn='{frozen_bn}' must be 'eval' or 'shift'.")
        if frozen_bn == 'shift' and (norm_eval or not frozen):
            raise ValueError("model.frozen_bn='shift' lets batch norm of frozen parts follow the "
                             'data: it needs model.frozen, and model.norm_eval=False.')
        num_classes = self.data_preprocessor.num_classes
        self.backbone = MODELS.build(backbone)
        _require(self.backbone, 'backbone', 'num_features', 'set it to the length of its features')
        self.head = MODELS.build(
            dict(head, num_features=self.backbone.num_features, num_classes=num_classes))
        _require(self.head, 'head', 'scale', 'set it to 1.0, or to what it multiplies cosines by')
        if not isinstance(self.head.scale, (int, float)):
            raise TypeError(f'model.head: {type(self.head).__name__} has a '
                            f'{type(self.head.scale).__name__} as scale, which losses need as a '
                            'number: apply a learned factor in forward, and set scale to the '
                            'number beside it, e.g. 1.0.')
        self.loss = LOSSES.build(loss)
        _require(self.loss, 'loss', 'uses_features', 'derive it from ltcls.losses.LongTailLoss')
        self.loss.logit_scale = self.head.scale
        _check_experts(self.backbone, self.head)
        self.dtype = PRECISIONS[precision]
        if channels_last:
            self.backbone.to(memory_format=torch.channels_last)
            self.data_preprocessor.channels_last = True
        self.captured = capture(self.backbone, compile, cuda_graphs)
        self.frozen_bn, self.norm_eval = frozen_bn, norm_eval
        self.frozen = list(frozen)
        for path in self.frozen:
            self._part(path).requires_grad_(False)
        if cuda_graphs:
            own_gradients(self.backbone)
        self.register_buffer('class_counts', torch.zeros(num_classes, dtype=torch.float64))
        # There from the start: averages of the model pair its buffers with those of an earlier copy.
        self.register_buffer('_class_weights', torch.ones(num_classes), persistent=False)
        self.weighted = False
        self.class_weight_mean = 'weighted'

    def _part(self, path: str) -> nn.Module:
        try:
            if not path:              # which torch takes for the whole model
                raise AttributeError
            return self.get_submodule(path)
        except AttributeError:
            raise ValueError(f"model.frozen names '{path}', which this model does not have; its "
                             f"parts: {', '.join(n for n, _ in self.named_children())}.") from None

    def init_weights(self) -> None:
        """Nothing: every part initialises itself when it is built, or loads its weights."""

    # -- what the model is told -------------------------------------------------------------

    def bind(self, class_counts: Sequence[int] | Tensor) -> None:
        """Tell the head and the loss the class counts [C] of the training set.

        Raises:
            ValueError: counts for another number of classes than the model has; or a module that
                makes a persistent buffer of them, with which no checkpoint could be loaded.
        """
        counts = torch.as_tensor(class_counts, dtype=torch.float64)
        if len(counts) != len(self.class_counts):
            raise ValueError(
                f'The training set has {len(counts)} classes, the model '
                f'{len(self.class_counts)}: set data_preprocessor.num_classes={len(counts)}.')
        self.class_counts.copy_(counts)
        self.bound = True
        for name, module in self.named_modules():
            if isinstance(module, LongTailModule):
                before = _saved_shapes(module)
                module.bind(self.class_counts)
                if _saved_shapes(module) != before:
                    raise ValueError(
                        f'model.{name}: bind of {type(module).__name__} makes or resizes what goes '
                        'into checkpoints, which could then not be loaded: register the buffer '
                        'with persistent=False.')
        # A buffer that `bind` made on another device follows the module.
        self.to(self.class_counts.device)

    def set_clock(self, clock: Clock) -> None:
        """Tell the head, the loss and the mixing, and what they are made of, the time."""
        self.clock = clock
        parts = [self.head, self.loss]
        mixing = getattr(self.data_preprocessor, 'mixing', None)
        if isinstance(mixing, LongTailModule):
            parts.append(mixing)
        for part in parts:
            for module in part.modules():
                if module is part or isinstance(module, LongTailModule):
                    module.clock = clock

    @property
    def class_weights(self) -> Tensor | None:
        """Weights [C] on the losses, None for none; to set it is `set_class_weights(weights)`."""
        return self._class_weights if self.weighted else None

    @class_weights.setter
    def class_weights(self, weights: Tensor | None) -> None:
        self.set_class_weights(weights)

    def set_class_weights(self, weights: Tensor | None, mean: str = 'weighted') -> None:
        """Weights [C] that multiply the losses from now on; None for none.

        `mean='weighted'` divides them by their mean over the batch, so that the batch mean is the
        weighted mean of `F.cross_entropy(weight=...)`; 'plain' uses them as they are.

        Raises:
            ValueError: another `mean`, or another number of weights than classes.
        """
        if mean not in ('weighted', 'plain'):
            raise ValueError(f"Class weights got mean='{mean}'; it is 'weighted' or 'plain'.")
        if weights is not None:
            if weights.shape != self._class_weights.shape:
                raise ValueError(f'Class weights have shape {list(weights.shape)}; give one for each '
                                 f'of the {len(self._class_weights)} classes.')
            self._class_weights.copy_(weights)
        self.weighted = weights is not None
        self.class_weight_mean = mean

    def train(self, mode: bool = True) -> 'Classifier':
        """Training mode for all but the frozen parts."""
        super().train(mode)
        for part in map(self._part, self.frozen):
            part.eval()
            if mode and self.frozen_bn == 'shift':
                _switch_norms(part, True)
        if mode and self.norm_eval:
            _switch_norms(self, False)
        return self

    # -- training -----------------------------------------------------------------------------

    def train_step(self, data: dict, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """One step on one batch of the loader; returns what the logger shows."""
        if takes_objective(self, optim_wrapper):
            return perturbed_step(self, data, optim_wrapper)
        return super().train_step(data, optim_wrapper)

    # -- the computation --------------------------------------------------------------------

    def extract(self, inputs: Tensor) -> Tensor:
        """Preprocessed images [B, 3, H, W] -> features float32 [B, D]."""
        device = inputs.device.type
        context = (torch.autocast(device, dtype=self.dtype) if self.dtype is not None
                   else nullcontext())
        with context:
            features = self.backbone(inputs)
        if features.dim() != 2 or features.shape[1] != self.backbone.num_features:
            raise ValueError(
                f'model.backbone: {type(self.backbone).__name__} returned features of shape '
                f'{list(features.shape)} instead of [B, {self.backbone.num_features}]: pool them '
                'to one vector an image, of length num_features.')
        return features.float()

    def logits(self, features: Tensor, head: dict[str, Tensor] | None = None) -> Tensor:
        """Features [B, D] -> float32 logits [B, C] or [B, E, C]; `head` as in `losses`."""
        with torch.autocast(features.device.type, enabled=False):
            if head is None:
                return self.head(features.float()).float()
            return torch.func.functional_call(self.head, head, (features.float(),)).float()

    def losses(self, features: Tensor, labels: Tensor | MixedLabels,
               weights: Tensor | None = None, index: Tensor | None = None,
               head: dict[str, Tensor] | None = None, logits: Tensor | None = None) -> Tensor:
        """Weighted loss of each sample [B], or of those in `index`.

        Class weights are divided by their batch mean (unless set with `mean='plain'`); sample
        weights are used as they are. `head` maps parameter names of the head to replacement
        tensors; `logits`, of the chosen samples, replace the head altogether. Under mixing the two
        labels are weighted apart and then mixed. Of experts a loss that does not take them all
        together is the sum of each one's.
        """
        chosen = slice(None) if index is None else index
        features = features[chosen]
        if logits is None:
            logits = self.logits(features, head)
        takes_experts = getattr(self.loss, 'takes_experts', False)
        if logits.dim() == 3 and not takes_experts:
            return sum(self._losses(features, own, labels, weights, chosen)
                       for own in logits.unbind(dim=1))
        if takes_experts and logits.dim() != 3:
            raise ValueError(f'model.loss: {type(self.loss).__name__} compares experts, and '
                             f"{type(self.head).__name__} has none: set model.head.type='ExpertHead' "
                             'and a backbone of experts.')
        return self._losses(features, logits, labels, weights, chosen)

    def _losses(self, features: Tensor, logits: Tensor, labels: Tensor | MixedLabels,
                weights: Tensor | None, chosen: Tensor | slice) -> Tensor:
        if not isinstance(labels, MixedLabels):
            return self._weighted(logits, features, labels, weights, chosen)
        options = {}
        if getattr(self.loss, 'share_noise', False):
            options = dict(noise=self.loss.draw_noise(logits))
        first, second = (self._weighted(logits, features, part, weights, chosen, **options)
                         for part in (labels.first, labels.second))
        return labels.share * first + (1 - labels.share) * second

    def factor(self, labels: Tensor, weights: Tensor | None) -> Tensor | None:
        """What class and sample weights multiply the losses of a batch by, [B]; None for 1."""
        if not self.weighted:
            return weights
        factor = self._class_weights[labels]
        if self.class_weight_mean == 'weighted':
            factor = factor / factor.mean()
        return factor if weights is None else factor * weights

    def _weighted(self, logits: Tensor, features: Tensor, labels: Tensor, weights: Tensor | None,
                  chosen: Tensor | slice, **options) -> Tensor:
        """Losses of the chosen samples; `labels` and `weights` are those of the whole batch [B]."""
        factor = self.factor(labels, weights)
        if self.loss.uses_features:
            options['features'] = features.float()
        with torch.autocast(features.device.type, enabled=False):
            own = labels[chosen]
            losses = self.loss(logits, own, **options)
        if losses.shape != own.shape:
            raise ValueError(f'model.loss: {type(self.loss).__name__} returned shape '
                             f'{list(losses.shape)} instead of one loss a sample '
                             f'{list(own.shape)}: leave out the mean, which is taken '
                             'after the weights.')
        return losses if factor is None else losses * factor[chosen]

    def forward(self, inputs: Tensor, labels: Tensor | MixedLabels | None = None,
                weights: Tensor | None = None, mode: str = 'tensor',
                losses: Tensor | None = None, draws=None):
        """Images [B, 3, H, W] as the preprocessor hands them over.

        mode 'tensor' returns logits; 'loss' a dict with the losses [B]; 'predict' a list with one
        dict for the batch: scores (softmax, [B, C]) and the labels. `losses` [B] are those of this
        batch at the current weights, from a pass that is not made again; `weights` multiply them.
        `draws.again()` is a context in which dropout and the like draw what they have drawn before.
        """
        if losses is not None and mode == 'loss':
            return dict(loss=losses if weights is None else losses * weights)
        if draws is not None:
            with draws.again():
                return self.forward(inputs, labels, weights, mode)
        features = self.extract(inputs)
        if mode == 'loss':
            return dict(loss=self.losses(features, labels, weights))
        logits = self.logits(features)
        if mode == 'tensor':
            return logits
        if logits.dim() == 3:
            logits = logits.mean(dim=1)
        return [dict(scores=logits.softmax(dim=1), labels=labels)]


def _require(module: nn.Module, part: str, name: str, remedy: str) -> None:
    if not hasattr(module, name):
        raise TypeError(f"model.{part}: {type(module).__name__} has no attribute '{name}': "
                        f'{remedy}.')


def _check_experts(backbone: nn.Module, head: nn.Module) -> None:
    needed = getattr(head, 'backbone_experts', None)
    found = getattr(backbone, 'experts', None)
    if needed is not None and found != needed:
        has = 'none' if found is None else found
        raise ValueError(f'model.head.experts={needed}, and {type(backbone).__name__} has {has}: '
                         'take a backbone of experts, and give both the same number.')


def _saved_shapes(module: nn.Module) -> dict[str, tuple | None]:
    """By name; None where there is none (yet)."""
    return {name: tuple(value.shape) if isinstance(value, Tensor) and not is_lazy(value) else None
            for name, value in module.state_dict().items()}


def _switch_norms(part: nn.Module, training: bool) -> None:
    for module in part.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train(training)


def takes_objective(model: Classifier, optim_wrapper: OptimWrapper) -> bool:
    """Whether the wrapper evaluates the loss itself.

    Raises:
        ValueError: float16 without loss scaling, where small gradients would become zero; or a
            wrapper that cannot work on a compiled backbone.
    """
    check_capture(model, optim_wrapper)
    if model.dtype == torch.float16 and getattr(optim_wrapper, 'loss_scaler', None) is None:
        raise ValueError("model.precision='float16' needs loss scaling: set optim_wrapper.type="
                         "'PerturbedOptimWrapper' (or a method's) and optim_wrapper.loss_scale="
                         "'dynamic', or use precision='bfloat16'.")
    return isinstance(optim_wrapper, PerturbedOptimWrapper)


def perturbed_step(model: Classifier, data: dict, optim_wrapper: PerturbedOptimWrapper) -> dict:
    """Preprocess the batch once and hand its loss over as a function of the weights."""
    objective = Objective(model, model.data_preprocessor(data, True))
    optim_wrapper.update_params(objective)
    return objective.logs
