# The digits in smaller batches: a Vision Transformer wants more steps.
_base_ = './digits_lt.py'

train_dataloader = dict(batch_size=32)
