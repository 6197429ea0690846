_base_ = [
    '../_base_/datasets/cifar100_lt_vit.py',
    '../_base_/models/vit_b16_adaptformer.py',
    '../_base_/schedules/prompt_70e.py',
    '../_base_/default_runtime.py',
]

# AdaptFormer (Chen et al., NeurIPS 2022) at the learning rate of its code.
model = dict(head=dict(init='normal', bias_init=0.0))
optim_wrapper = dict(optimizer=dict(lr=0.025, weight_decay=0.0))
