_base_ = [
    '../_base_/datasets/tiny50a.py',
    '../_base_/models/vit_tiny50.py',
    '../_base_/schedules/vit_tiny50_15e.py',
    '../_base_/default_runtime.py',
]
