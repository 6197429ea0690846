"""A rehearsal of any config on a few random images, for data that is not on this machine."""

import copy

from mmengine.config import Config, ConfigDict
from mmengine.dist import get_world_size

from ltcls.registry import DATASETS, MODELS

IMAGES_A_BATCH = 8
# Files are decoded before the pipeline crops them; this stands for a usual photograph.
PHOTO_SIZE = 256


def shrink(cfg: Config) -> None:
    """Random images instead of the data, two iterations, one epoch (or none, as in the config).

    Weights are not loaded, and a large network may run at a small size: what its class states in
    `rehearsal`, unless the config names a size.
    """
    backbone = without_weights(cfg).model.backbone
    small = getattr(MODELS.get(backbone.type), 'rehearsal', {})
    cfg.model.backbone = ConfigDict(small, **backbone)
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
        # Where nothing crops the images they have the size that the network wants.
        photo = PHOTO_SIZE if pipeline else backbone.get('img_size', PHOTO_SIZE)
        loader.dataset = ConfigDict(
            type='RandomImages', num_classes=cfg.data_preprocessor.num_classes,
            num_images=images, length=images,
            size=getattr(cls, 'image_size', None) or photo,
            channels=len(cfg.data_preprocessor.mean), pipeline=pipeline)
        (loader.get('sampler') or {}).pop('epoch_length', None)
    cfg.pop('auto_scale_lr', None)
    if cfg.train_cfg.max_epochs:
        cfg.train_cfg.max_epochs = 1
        for hook in cfg.get('custom_hooks') or ():      # what begins later is to be tried as well
            if hook.get('begin'):
                hook.begin = 0
                rates = hook.get('virtual_lr')
                if isinstance(rates, list):             # there has to be one from `begin` on
                    hook.virtual_lr = [[0, rates[0][1]]]
        if cfg.model.loss.get('begin'):
            cfg.model.loss.begin = 0
    cfg.train_cfg.val_interval = 1


def without_weights(cfg: Config) -> Config:
    """The same config with a backbone that does not load the weights it names.

    What that means its class states in `unloaded`. It serves where weights are not needed: in a
    rehearsal, on the meta device, and before a checkpoint of the whole model is loaded.
    """
    cfg = copy.deepcopy(cfg)
    cfg.model.backbone.update(unloaded(cfg.model.backbone))
    return cfg


def unloaded(backbone: dict) -> dict:
    """What a backbone's class states to do without the weights that its config names."""
    kind = backbone.get('network', backbone['type'])     # several of a kind load what it loads
    return getattr(MODELS.get(kind), 'unloaded', {})
