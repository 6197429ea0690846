_base_ = '../crt/crt_resnet152_places.py'

# Kang et al., ICLR 2020, Sec. 4: the classifier stays, one scale a class is learned.
init_from = dict(parts=['backbone', 'head'])
model = dict(head=dict(type='LWSHead'))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=5)]
train_cfg = dict(max_epochs=5)
