_base_ = '../crt/crt_resnet32_cifar10.py'

# Kang et al., ICLR 2020, Sec. 4: the classifier stays, one scale a class is learned.
init_from = dict(parts=['backbone', 'head'])
model = dict(head=dict(type='LWSHead'))
