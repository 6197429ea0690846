# iNaturalist 2018 in the batches and with the normalisation of ImageNet-21k Vision Transformers.
_base_ = './inat2018.py'

data_preprocessor = dict(mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5])
train_dataloader = dict(batch_size=128)
