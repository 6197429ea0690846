_base_ = '../ce/ce_resnet152_places.py'

# Stage 1 (Zhou et al., CVPR 2023): every class at its own perturbed classifier, the paper's radius.
train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='RandomResizedCrop', size=224),
    dict(type='RandomHorizontalFlip'),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
]))
data_preprocessor = dict(mixing=dict(type='Mixup', alpha=0.2))
optim_wrapper = dict(type='CCSAM', radius=1.0, mix=1.0, max_relative_radius=0.5)
