_base_ = './ce_resnet50_inat.py'

# Kang et al., ICLR 2020, Sec. 4: the longer of their two schedules for iNaturalist.
param_scheduler = [dict(type='CosineAnnealingLR', T_max=200)]
train_cfg = dict(max_epochs=200)
