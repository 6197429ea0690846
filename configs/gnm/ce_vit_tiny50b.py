_base_ = [
    '../_base_/datasets/tiny50b.py',
    '../_base_/models/vit_tiny50_gnm_pt.py',
    '../_base_/schedules/prompt_tiny50_10e.py',
    '../_base_/default_runtime.py',
]

# The network of GNM-PT under plain cross-entropy (Li et al., NeurIPS 2024).
model = dict(head=dict(init='normal', bias_init=0.0))
