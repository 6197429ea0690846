"""Frozen Vision Transformers, and prompts that are tuned in their place."""

import torch
from torch import Tensor, nn

from ltcls.registry import MODELS

from .vit_weights import build_vit


@MODELS.register_module()
class FrozenViT(nn.Module):
    """A timm Vision Transformer that stays as it is: features for a head, and nothing that trains.

    It is kept in eval mode. Autograd stores nothing before the first trained parameter, and behind
    it no inputs of the frozen layers' weights. Subclasses put in what trains.

    Args:
        name, weights, positions: see `build_vit`: the timm name, where the weights come from, and
            how position embeddings are brought to another image size.
        feature_dropout: on the features, in training.
        options: of `timm.create_model`, e.g. img_size=384, or depth=4 for a network of one's own.
    """

    # What a config sets to do without weights, and sizes for a rehearsal where it names none.
    unloaded = dict(weights=None)
    rehearsal = dict(depth=2, embed_dim=64, num_heads=1)

    def __init__(self, name: str, weights: str | None = None, positions: str = 'timm',
                 feature_dropout: float = 0.0, **options):
        super().__init__()
        self.model = build_vit(name, weights, positions, **options).requires_grad_(False)
        self.num_features = self.model.num_features
        self.dropout = nn.Dropout(feature_dropout)

    def train(self, mode: bool = True) -> 'FrozenViT':
        """Training mode for what is added; dropout and the like inside the ViT stay off."""
        super().train(mode)
        self.model.eval()
        return self

    def tokens(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] -> the sequence [B, T, D] that enters the first block."""
        vit = self.model
        return vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(images))))

    def pooled(self, x: Tensor) -> Tensor:
        """What leaves the last block, [B, T, D] -> features [B, D], as timm pools them."""
        return self.model.forward_head(self.model.norm(x), pre_logits=True)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] -> features [B, D]."""
        return self.dropout(self.pooled(self.model.blocks(self.tokens(images))))


@MODELS.register_module()
class PromptedViT(FrozenViT):
    """A frozen ViT with tokens of its own in the sequence, the prompts, which are what trains.

    Jia et al., Visual Prompt Tuning, ECCV 2022, Eqs. 4-7: 'shallow' prompts enter before the first
    block and stay; with 'deep' ones every block gets fresh prompts and what became of those of the
    block before is dropped. They carry no position, so whether they stand behind the class token
    (as in the paper) or at the end (as here) makes no difference to the features.

    Li et al., Improving Visual Prompt Tuning by Gaussian Neighborhood Minimization for Long-Tailed
    Visual Recognition, NeurIPS 2024, is pool='prompts', init='normal', feature_dropout=0.1: the
    features are the mean of timm's (the normalised class token) and of the average of the last
    block's prompts. As in the authors' code those are not normalised.

    Args:
        num_prompts: prompts a block (a network, if shallow).
        prompts: 'deep' or 'shallow'.
        init: 'vpt' for the uniform draw of VPT, bound (6 / (numbers in a patch + D)) ** (1/2);
            'normal' for a normal distribution of standard deviation 0.02.
        pool: 'timm' leaves the prompts out of the features, 'prompts' adds them.
        prompt_dropout: on the prompts, in training.
        arguments: of FrozenViT.

    Raises:
        ValueError: fewer than one prompt, or an unknown word.
    """

    added = ('prompts',)      # what weights of the ViT alone do not hold

    def __init__(self, name: str, num_prompts: int = 10, prompts: str = 'deep', init: str = 'vpt',
                 pool: str = 'timm', prompt_dropout: float = 0.0, **arguments):
        super().__init__(name, **arguments)
        if num_prompts < 1:
            raise ValueError(f'PromptedViT got num_prompts={num_prompts}; it needs one at least, '
                             'and without any it is FrozenViT.')
        for key, value, known in (('prompts', prompts, ('deep', 'shallow')),
                                  ('init', init, ('vpt', 'normal')),
                                  ('pool', pool, ('timm', 'prompts'))):
            if value not in known:
                raise ValueError(f"PromptedViT got {key}='{value}'; use {' or '.join(known)}.")
        self.deep = prompts == 'deep'
        self.pool = pool
        blocks = len(self.model.blocks) if self.deep else 1
        self.prompts = nn.Parameter(torch.empty(blocks, num_prompts, self.num_features))
        if init == 'vpt':
            patch = self.model.patch_embed.proj.weight[0].numel()
            bound = (6 / (patch + self.num_features)) ** 0.5
            nn.init.uniform_(self.prompts, -bound, bound)
        else:
            nn.init.trunc_normal_(self.prompts, std=0.02)
        self.prompt_dropout = nn.Dropout(prompt_dropout)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] -> features [B, D]."""
        x = self.tokens(images)
        count = x.size(1)
        prompts = self.prompts.unbind()
        for index, block in enumerate(self.model.blocks):
            if self.deep or index == 0:
                fresh = self.prompt_dropout(prompts[index].expand(len(x), -1, -1))
                x = torch.cat([x[:, :count], fresh], dim=1)
            x = block(x)
        features = self.pooled(x[:, :count])
        if self.pool == 'prompts':
            features = (features + x[:, count:].mean(dim=1)) / 2
        return self.dropout(features)
