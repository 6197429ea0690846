_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/saddle_90e.py',
    '../_base_/default_runtime.py',
]

# Cao et al., NeurIPS 2019, with the values of Rangwani et al., NeurIPS 2022.
train_dataloader = dict(batch_size=256)
model = dict(head=dict(type='CosineHead', scale=30), loss=dict(type='LDAMLoss', max_margin=0.3))
