_base_ = '../ce/ce_resnet50_inat.py'

# Menon et al., ICLR 2021, Eq. 10: the log prior is added to the logits in training.
model = dict(loss=dict(type='LogitAdjustedLoss', tau=1.0))
optim_wrapper = dict(optimizer=dict(lr=0.4))
