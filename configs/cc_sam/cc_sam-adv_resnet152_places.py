_base_ = '../ce/ce_resnet152_places.py'

# Stage 2: the classifier alone, on adversarial features of growing share.
init_from = dict(config='cc_sam_resnet152_places', parts=['backbone', 'head'])
train_dataloader = dict(
    sampler=dict(type='ClassAwareSampler', images_per_turn=1),
    dataset=dict(pipeline=[
        dict(type='RandomResizedCrop', size=224),
        dict(type='RandomHorizontalFlip'),
        dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
    ]))
model = dict(type='AdversarialFeatureClassifier', frozen=['backbone'], max_share=1.0)
optim_wrapper = dict(optimizer=dict(lr=0.04))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=30)]
train_cfg = dict(max_epochs=30)
