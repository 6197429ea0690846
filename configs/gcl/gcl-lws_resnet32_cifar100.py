_base_ = './gcl-crt_resnet32_cifar100.py'

# Li et al., CVPR 2022, Table 5: the classifier stays, one scale a class is learned.
model = dict(head=dict(type='CosineLWSHead'))
