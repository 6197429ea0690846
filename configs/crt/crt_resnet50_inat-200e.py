_base_ = './crt_resnet50_inat.py'

# Kang et al., ICLR 2020: the representation of 200 epochs.
init_from = dict(config='ce_resnet50_inat-200e')
