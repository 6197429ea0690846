"""Building timm Vision Transformers, and filling them from the files their weights come in."""

import math
import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .timm_hub import from_hub

# How a table of position embeddings is brought to another grid: as timm does for state dicts, as
# timm does for .npz files, as Google's code does (scipy's zoom of order 1), as MAE does.
POSITIONS = dict(
    timm=dict(mode='bicubic', antialias=True),
    bilinear=dict(mode='bilinear'),
    official=dict(mode='bilinear', align_corners=True),
    mae=dict(mode='bicubic'))
GOOGLE = 'https://storage.googleapis.com/vit_models'
# Where a training checkpoint keeps the weights of the network.
INSIDE = ('state_dict', 'model', 'teacher')


def build_vit(name: str, weights: str | None = None, positions: str = 'timm',
              **options) -> nn.Module:
    """A timm Vision Transformer without its classifier.

    On the meta device, where there are no values, weights are not looked for.

    Args:
        name: of timm, also with a tag, e.g. 'vit_base_patch16_224.augreg_in21k'.
        weights: None for random values; 'timm' for those of the name, downloaded by timm on first
            use; or a file: .npz as Google publishes them, .safetensors, or a state dict of torch,
            which may be a checkpoint of ltcls. A classifier in it is left out.
        positions: how position embeddings are brought to another image size, a key of POSITIONS;
            'timm' does as timm does for the kind of file.
        options: of `timm.create_model`, e.g. img_size=384.

    Raises:
        ValueError: no Vision Transformer, or weights that do not fit it.
        OSError: weights that are not there, with where they were looked for and how to get them.
    """
    import timm
    from timm.models.vision_transformer import VisionTransformer
    if positions not in POSITIONS:
        raise ValueError(f"positions='{positions}' is not known; use {', '.join(POSITIONS)}.")
    if not timm.is_model(name):
        raise ValueError(f"timm has no model '{name}'; `timm.list_models('vit_*')` shows names.")
    hub = weights == 'timm' and not torch.empty(0).is_meta
    if hub and positions != 'timm':
        raise ValueError(f"positions='{positions}' needs the weights as a file: give its path as "
                         'model.backbone.weights.')
    model = (from_hub(name, **options) if hub
             else timm.create_model(name, num_classes=0, **options))
    if not isinstance(model, VisionTransformer):
        raise ValueError(f"timm's '{name}' is a {type(model).__name__} and no VisionTransformer; "
                         'use TimmBackbone, or a vit_* or deit_* name.')
    if weights not in (None, 'timm') and not torch.empty(0).is_meta:
        load_vit_weights(model, weights, positions)
    return model


# -- files ----------------------------------------------------------------------------------------

def load_vit_weights(model: nn.Module, weights: str | Path, positions: str = 'timm') -> None:
    """Fill a timm Vision Transformer from a file; arguments and errors as in `build_vit`."""
    path = Path(weights).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"model.backbone.weights='{weights}' does not exist, looked for as "
                                f'{path.absolute()}. {_how_to_get(path)}')
    google = path.suffix == '.npz'
    state = from_npz(path) if google else _inner(_read(path))
    if 'register_tokens' in state:
        _join_registers(state)
    kernel = state.get('patch_embed.proj.weight')
    if kernel is not None and kernel.dim() == 4:      # timm would resample it
        _check_shapes(path, {'patch_embed.proj.weight': kernel}, model.state_dict())
    table = state.get('pos_embed')
    if table is not None and model.pos_embed is not None and table.shape != model.pos_embed.shape:
        prefix = 0 if model.no_embed_class else model.num_prefix_tokens
        how = 'bilinear' if google and positions == 'timm' else positions
        state['pos_embed'] = resize_positions(table, model.patch_embed.grid_size, prefix, how)
    if not google:
        from timm.models.vision_transformer import checkpoint_filter_fn
        state = checkpoint_filter_fn(state, model)      # layouts of CLIP, DINOv2 and others
    own = model.state_dict()
    absent = [key for key in own if key not in state]
    left = [key for key in state if key.startswith('blocks.') and key not in own]
    if absent or left:
        problem = f"lacks '{absent[0]}'" if absent else f"holds '{left[0]}', which it has not"
        raise ValueError(f'{path} does not fit this network: it {problem}, and '
                         f'{len(absent) + len(left) - 1} others. Choose the timm name (and depth) '
                         'that the file was made for.')
    _check_shapes(path, state, own)
    model.load_state_dict({key: state[key] for key in own})


def _check_shapes(path: Path, state: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    for key, value in own.items():
        if key in state and state[key].shape != value.shape:
            raise ValueError(f"{path} does not fit this network: '{key}' has shape "
                             f'{list(state[key].shape)} there and {list(value.shape)} here. '
                             'Choose the timm name that the file was made for.')


def _join_registers(state: dict[str, Tensor]) -> None:
    """DINOv2 with registers: timm has no position for the class token, which gets its sum."""
    state['reg_token'] = state.pop('register_tokens')
    state['cls_token'] = state['cls_token'] + state['pos_embed'][:, :1]
    state['pos_embed'] = state['pos_embed'][:, 1:]


def _how_to_get(path: Path) -> str:
    if re.fullmatch(r'epoch_\d+\.pth', path.name):
        return f'Train what it is the checkpoint of: ltcls train {path.parent.name}'
    if path.suffix == '.npz':
        return (f'Google keeps these files at {GOOGLE}/imagenet21k/ViT-B_16.npz, and those of '
                f'AugReg below {GOOGLE}/augreg/.')
    return ("Give the path of the file, 'timm' to have timm download the weights of the name, or "
            'None to start from random values.')


def _read(path: Path) -> dict:
    """What a file of torch or safetensors holds, without running code in it."""
    try:
        if path.suffix == '.safetensors':
            from safetensors.torch import load_file
            return load_file(path)
        return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:      # torch and safetensors raise many kinds for broken files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:150]
        raise ValueError(f'{path} cannot be read as weights: {reason}. It has to be a state dict '
                         'of tensors, as .pth or .safetensors.') from error


def _inner(content: dict) -> dict[str, Tensor]:
    """The weights of the ViT inside a checkpoint, by the names they have in it alone."""
    for key in INSIDE:
        if isinstance(content.get(key), dict):
            content = content[key]
    ends = [key for key in content if key.endswith('patch_embed.proj.weight')]
    prefix = min(ends, key=len).removesuffix('patch_embed.proj.weight') if ends else ''
    return {key.removeprefix(prefix): value for key, value in content.items()
            if key.startswith(prefix) and isinstance(value, Tensor)}


def from_npz(path: str | Path) -> dict[str, Tensor]:
    """Weights by timm's names from a file of Google's JAX code, old and new layout.

    Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021; Steiner et al., How to train your
    ViT?, TMLR 2022 (AugReg). The tanh layer before the classifier and the classifier are left out.

    Raises:
        ValueError: a file without such weights.
    """
    import numpy as np
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:      # numpy raises many kinds for broken files
        raise ValueError(f'{path} cannot be read as an .npz file: {error}.') from error
    found = [p for p in ('', 'opt/target/', 'params/', 'params/img/')
             if f'{p}embedding/kernel' in arrays]
    if not found:
        raise ValueError(f"{path} holds no ViT as Google's code stores it: there is no "
                         "'embedding/kernel' in it.")
    file = _GoogleFile(path, arrays, found[0])
    state = {
        'patch_embed.proj.weight': file('embedding/kernel').permute(3, 2, 0, 1),
        'patch_embed.proj.bias': file('embedding/bias'),
        'pos_embed': file('Transformer/posembed_input/pos_embedding', 'pos_embedding'),
        'norm.weight': file('Transformer/encoder_norm/scale'),
        'norm.bias': file('Transformer/encoder_norm/bias')}
    if 'cls' in file:
        state['cls_token'] = file('cls')
    depth = 0
    while f'Transformer/encoderblock_{depth}/LayerNorm_0/scale' in file:
        state.update(_block(file, depth))
        depth += 1
    return state


class _GoogleFile:
    """The arrays of a file as tensors, under names without the file's prefix."""

    def __init__(self, path: str | Path, arrays: dict, prefix: str):
        self.path, self.arrays, self.prefix = path, arrays, prefix

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.arrays

    def __call__(self, *names: str) -> Tensor:
        """The first of these that the file has."""
        for name in names:
            if name in self:
                return torch.from_numpy(self.arrays[self.prefix + name])
        raise ValueError(f"{self.path} lacks '{self.prefix}{names[0]}'.")


def _block(file: _GoogleFile, index: int) -> dict[str, Tensor]:
    """The weights of one block. Kernels are stored [in, out], those of heads [in, heads, out]."""
    place = f'Transformer/encoderblock_{index}'

    def get(*names: str) -> Tensor:
        return file(*(f'{place}/{name}' for name in names))

    def attention(name: str) -> Tensor:
        return get(*(f'MultiHeadDotProductAttention_{number}/{name}' for number in (1, 0)))

    def mlp(name: str) -> Tensor:
        return get(f'MlpBlock_3/{name}', f'MlpBlock_0/{name}')

    parts = ('query', 'key', 'value')
    block = {
        'norm1.weight': get('LayerNorm_0/scale'),
        'norm1.bias': get('LayerNorm_0/bias'),
        'attn.qkv.weight': torch.cat([attention(f'{p}/kernel').flatten(1).T for p in parts]),
        'attn.qkv.bias': torch.cat([attention(f'{p}/bias').flatten() for p in parts]),
        'attn.proj.weight': attention('out/kernel').flatten(0, 1).T,
        'attn.proj.bias': attention('out/bias'),
        'norm2.weight': get('LayerNorm_2/scale', 'LayerNorm_1/scale'),
        'norm2.bias': get('LayerNorm_2/bias', 'LayerNorm_1/bias')}
    for number in (0, 1):
        block[f'mlp.fc{number + 1}.weight'] = mlp(f'Dense_{number}/kernel').T
        block[f'mlp.fc{number + 1}.bias'] = mlp(f'Dense_{number}/bias')
    return {f'blocks.{index}.{name}': value for name, value in block.items()}


def resize_positions(table: Tensor, grid: tuple[int, int], prefix: int,
                     positions: str = 'timm') -> Tensor:
    """Position embeddings for another grid of patches.

    Args:
        table: [1, prefix + patches, D], the patches a square in rows.
        grid: rows and columns wanted.
        prefix: entries before those of the patches, which stay as they are.
        positions: a key of POSITIONS.

    Raises:
        ValueError: patches that are no square.
    """
    first, patches = table[:, :prefix], table[:, prefix:]
    side = math.isqrt(patches.size(1))
    if side ** 2 != patches.size(1):
        raise ValueError(f'The {patches.size(1)} position embeddings of the weight file are no '
                         'square, so they cannot be brought to another image size.')
    square = patches.float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(square, size=tuple(grid), **POSITIONS[positions])
    return torch.cat([first, resized.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)
