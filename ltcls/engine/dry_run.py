"""A rehearsal of any config on a few random images, for data that is not on this machine."""

from mmengine.config import Config, ConfigDict
from mmengine.dist import get_world_size

from ltcls.registry import DATASETS

IMAGES_A_BATCH = 8
# Files are decoded before the pipeline crops them; this stands for a usual photograph.
PHOTO_SIZE = 256


def shrink(cfg: Config) -> None:
    """Random images instead of the data, two iterations, one epoch (or none, as in the config)."""
    for name, batches in (('train_dataloader', 2), ('val_dataloader', 1), ('test_dataloader', 1)):
        loader = cfg.get(name)
        if loader is None:
            continue
        loader.batch_size = min(loader.batch_size, IMAGES_A_BATCH)
        loader.num_workers = 0
        loader.pop('persistent_workers', None)
        loader.pop('prefetch_factor', None)
        dataset = loader.dataset
        cls = DATASETS.get(dataset.type)
        pipeline = dataset.get('pipeline') or []
        images = batches * loader.batch_size * get_world_size()
        loader.dataset = ConfigDict(
            type='RandomImages', num_classes=cfg.data_preprocessor.num_classes,
            num_images=images, length=images,
            size=getattr(cls, 'image_size', None) or PHOTO_SIZE,
            channels=len(cfg.data_preprocessor.mean), pipeline=pipeline)
        sampler = loader.get('sampler')
        if sampler is not None and 'epoch_length' in sampler:
            sampler.pop('epoch_length')
    if cfg.train_cfg.max_epochs:
        cfg.train_cfg.max_epochs = 1
    cfg.train_cfg.val_interval = 1
