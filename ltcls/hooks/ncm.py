"""The hook that fits a nearest-class-mean head."""

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.hooks import Hook
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ltcls.registry import FUNCTIONS, HOOKS

from .plain_images import without_augmentation
from .unwrap import bare


@HOOKS.register_module()
class ClassMeanHook(Hook):
    """Fits the class means of an `NCMHead` when training ends, usually a stage of zero epochs.

    One pass over the training set in eval mode and without augmentation: the preprocessor's is off,
    and a dataset with a pipeline reads its images through that of the validation set, or of the test
    set if there is none. Features are kept in main memory meanwhile. With several ranks each sees
    its share of the images and the sums are added up.

    Args:
        batch_size: images a forward pass.

    Raises:
        TypeError: when training ends with a head that cannot be fitted.
    """

    def __init__(self, batch_size: int = 500):
        self.batch_size = batch_size

    def after_train(self, runner) -> None:
        model = bare(runner.model)
        if not hasattr(model.head, 'fit'):
            raise TypeError(f'ClassMeanHook cannot fit a {type(model.head).__name__}; '
                            "set model.head=dict(type='NCMHead') or drop the hook.")
        dataset = without_augmentation(runner.train_dataloader.dataset, runner)
        batches = self.features(model, dataset, runner.train_dataloader.num_workers)
        model.head.fit(batches, all_reduce=all_reduce)

    def features(self, model: nn.Module, dataset: Dataset,
                 num_workers: int = 0) -> list[tuple[Tensor, Tensor]]:
        """This rank's share of the dataset: pairs of features [B, D] and labels [B], on the CPU."""
        share = range(get_rank(), len(dataset), get_world_size())
        loader = DataLoader(dataset, batch_size=self.batch_size, sampler=share,
                            num_workers=num_workers, collate_fn=FUNCTIONS.get('collate_batch'))
        training, batches = model.training, []
        model.eval()
        try:
            with torch.no_grad():
                for data in loader:
                    batch = model.data_preprocessor(data, False)
                    batches.append((model.extract(batch['inputs']).cpu(), batch['labels'].cpu()))
        finally:
            model.train(training)
        return batches
