_base_ = './gcl-crt_resnet32_cifar10.py'

# Li et al., CVPR 2022, Table 3: cosine, stage 2.
init_from = dict(config='gcl-cos_resnet32_cifar10.py')
model = dict(loss=dict(cloud='cos'))
