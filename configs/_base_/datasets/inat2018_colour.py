_base_ = './inat2018.py'

# With jittered colours.
train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='RandomResizedCrop', size=224),
    dict(type='RandomHorizontalFlip'),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
]))
