"""Frozen Vision Transformers with small trained layers beside the frozen ones."""

import math
from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltcls.registry import MODELS

from .vit import FrozenViT


class Adapter(nn.Module):
    """A frozen layer with a trained one beside it, in its place in the network."""


class AdaptedMLP(Adapter):
    """mlp(x) + scale * up(relu(down(x))) on [B, T, D]; zero at the start."""

    def __init__(self, mlp: nn.Module, dim: int, width: int, scale: float, dropout: float):
        super().__init__()
        self.mlp = mlp
        self.scale = scale
        self.dropout = dropout
        self.down = nn.Linear(dim, width)
        self.up = nn.Linear(width, dim)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.dropout(F.relu(self.down(x)), self.dropout, self.training)
        return self.mlp(x) + self.scale * self.up(hidden)


class LowRankQKV(Adapter):
    """qkv(x) with alpha / rank * up(down(x)) added to some of its parts; zero at the start."""

    def __init__(self, qkv: nn.Linear, rank: int, alpha: float, parts: Sequence[str]):
        super().__init__()
        self.qkv = qkv
        self.scale = alpha / rank
        self.width = qkv.out_features // 3
        self.down = nn.ModuleDict({p: nn.Linear(qkv.in_features, rank, bias=False) for p in parts})
        self.up = nn.ModuleDict({p: nn.Linear(rank, self.width, bias=False) for p in parts})
        for part in parts:
            nn.init.kaiming_uniform_(self.down[part].weight, a=math.sqrt(5))
            nn.init.zeros_(self.up[part].weight)

    def forward(self, x: Tensor) -> Tensor:
        out = self.qkv(x)
        added = [self.scale * self.up[part](self.down[part](x)) if part in self.up
                 else torch.zeros_like(out[..., :self.width]) for part in 'qkv']
        return out + torch.cat(added, dim=-1)


class AdaptedViT(FrozenViT):
    """What the two below share: the adapters train, and what they stand beside does not."""

    def train(self, mode: bool = True) -> 'AdaptedViT':
        super().train(mode)
        for module in self.model.modules():
            if isinstance(module, Adapter):
                module.training = mode
        return self


@MODELS.register_module()
class AdaptFormerViT(AdaptedViT):
    """A narrow trained layer beside the MLP of every block.

    x + mlp(LN(x)) becomes x + mlp(LN(x)) + scale * up(relu(down(LN(x)))).

    Chen et al., AdaptFormer: Adapting Vision Transformers for Scalable Visual Recognition, NeurIPS
    2022, Sec. 3.2. As in the paper's formula the layer sees the normalised tokens; the released
    code gives it x itself. Start values and dropout are the code's.

    Args:
        width: of the layer between.
        scale: of what it adds.
        adapter_dropout: behind the relu, in training.
        arguments: of FrozenViT.

    Raises:
        ValueError: a width below 1.
    """

    def __init__(self, name: str, width: int = 64, scale: float = 0.1,
                 adapter_dropout: float = 0.1, **arguments):
        super().__init__(name, **arguments)
        if width < 1:
            raise ValueError(f'AdaptFormerViT got width={width}; use 1 at least, e.g. 64.')
        for block in self.model.blocks:
            block.mlp = AdaptedMLP(block.mlp, self.num_features, width, scale, adapter_dropout)


@MODELS.register_module()
class LoRAViT(AdaptedViT):
    """A trained matrix of low rank added to those that make queries, keys or values.

    Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022, Eq. 3; queries and
    values are what its Sec. 7.1 finds best.

    Args:
        rank: of what is added.
        alpha: what is added is multiplied by alpha / rank; the rank by default.
        parts: of 'q', 'k' and 'v'.
        arguments: of FrozenViT.

    Raises:
        ValueError: a rank below 1, unknown parts, or a ViT whose attention has no `qkv` layer.
    """

    def __init__(self, name: str, rank: int = 8, alpha: float | None = None,
                 parts: Sequence[str] = ('q', 'v'), **arguments):
        super().__init__(name, **arguments)
        if rank < 1 or not parts or set(parts) - set('qkv'):
            raise ValueError(f"LoRAViT got rank={rank} and parts={list(parts)}; use a rank of 1 at "
                             "least, and some of 'q', 'k', 'v'.")
        for block in self.model.blocks:
            if not isinstance(getattr(block.attn, 'qkv', None), nn.Linear):
                raise ValueError(f"LoRAViT: the attention of '{name}' has no layer `qkv` to add "
                                 'to; use AdaptFormerViT.')
            block.attn.qkv = LowRankQKV(block.attn.qkv, rank, rank if alpha is None else alpha, parts)
