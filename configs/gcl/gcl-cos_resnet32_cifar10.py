_base_ = './gcl_resnet32_cifar10.py'

# Li et al., CVPR 2022, Table 3: cosine.
model = dict(loss=dict(cloud='cos'))
