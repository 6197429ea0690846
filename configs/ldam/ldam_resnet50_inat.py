_base_ = [
    '../_base_/datasets/inat2018.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/ldam_90e.py',
    '../_base_/default_runtime.py',
]

# Cao et al., NeurIPS 2019, Table 3.
train_dataloader = dict(
    batch_size=256,
    dataset=dict(pipeline=[
        dict(type='Resize', size=256),
        dict(type='RandomCrop', size=224),
        dict(type='RandomHorizontalFlip'),
    ]))
model = dict(head=dict(type='CosineHead', scale=30), loss=dict(type='LDAMLoss', max_margin=0.3))
