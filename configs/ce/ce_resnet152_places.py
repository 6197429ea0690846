_base_ = [
    '../_base_/datasets/places_lt.py',
    '../_base_/models/resnet152_last_block.py',
    '../_base_/schedules/gcl_places_90e.py',
    '../_base_/default_runtime.py',
]

# The reference row of the GCL tables (Li et al., CVPR 2022, Table 2): batches of 512.
