"""Adapters: nothing at the start, their formula later, and only they train."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ltcls.models.backbones import AdaptFormerViT, LoRAViT

NAME = 'vit_tiny_patch16_224'
SMALL = dict(img_size=16, patch_size=4, embed_dim=32, depth=2, num_heads=2)


@pytest.fixture
def whole(tmp_path):
    """A timm ViT in float64 and a file with its weights."""
    torch.manual_seed(0)
    model = timm.create_model(NAME, num_classes=0, **SMALL).eval()
    torch.save(model.state_dict(), tmp_path / 'vit.pth')
    return model.double(), str(tmp_path / 'vit.pth')


def draw(backbone):
    """Other values for everything that trains."""
    with torch.no_grad():
        for value in backbone.parameters():
            if value.requires_grad:
                value.normal_(0, 0.5)
    return backbone


X = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize('kind', [AdaptFormerViT, LoRAViT])
def test_at_the_start_the_features_are_those_of_timm(kind, whole):
    model, weights = whole
    backbone = kind(NAME, weights=weights, **SMALL).double().eval()
    assert_close(backbone(X), model(X), atol=1e-12, rtol=0)
    assert not torch.allclose(draw(backbone)(X), model(X))


def test_adaptformer_stands_beside_the_mlp_and_sees_what_it_sees(whole):
    model, weights = whole
    backbone = draw(AdaptFormerViT(NAME, weights=weights, width=5, scale=0.2, **SMALL)).double()
    x = model._pos_embed(model.patch_embed(X))
    for plain, adapted in zip(model.blocks, backbone.eval().model.blocks):
        x = x + plain.attn(plain.norm1(x))
        h, layer = plain.norm2(x), adapted.mlp
        narrow = F.relu(h @ layer.down.weight.T + layer.down.bias)
        x = x + plain.mlp(h) + 0.2 * (narrow @ layer.up.weight.T + layer.up.bias)
    assert_close(backbone(X), model.norm(x)[:, 0], atol=1e-10, rtol=0)


@pytest.mark.parametrize(('parts', 'alpha'), [('qv', None), ('k', 6.0), ('qkv', 1.5)])
def test_lora_is_the_network_with_the_product_added_to_its_matrix(parts, alpha, whole):
    model, weights = whole
    backbone = draw(LoRAViT(NAME, weights=weights, rank=3, alpha=alpha, parts=list(parts),
                            **SMALL)).double().eval()
    with torch.no_grad():
        for plain, adapted in zip(model.blocks, backbone.model.blocks):
            layer = adapted.attn.qkv
            for part in parts:
                rows = slice('qkv'.index(part) * 32, ('qkv'.index(part) + 1) * 32)
                product = layer.up[part].weight @ layer.down[part].weight
                plain.attn.qkv.weight[rows] += (alpha or 3) / 3 * product
    assert_close(backbone(X), model(X), atol=1e-10, rtol=0)


@pytest.mark.parametrize(('kind', 'arguments', 'size'), [
    (AdaptFormerViT, dict(width=64), 1_189_632), (LoRAViT, dict(rank=8), 294_912)])
def test_what_trains_in_a_vit_b16(kind, arguments, size):
    with torch.device('meta'):
        backbone = kind('vit_base_patch16_224', weights='timm', **arguments)
    trained = {name: p.numel() for name, p in backbone.named_parameters() if p.requires_grad}
    assert sum(trained.values()) == size
    assert all('.down.' in name or '.up.' in name for name in trained)
    assert sum(p.numel() for p in backbone.parameters()) - size == 85_798_656


@pytest.mark.parametrize('kind', [AdaptFormerViT, LoRAViT])
def test_only_the_adapters_get_gradients_and_their_layers_leave_eval_mode(kind):
    backbone = draw(kind(NAME, **SMALL)).train()
    backbone(X.float()).sum().backward()
    for name, value in backbone.named_parameters():
        adapter = '.down.' in name or '.up.' in name
        assert value.requires_grad == adapter and (value.grad is not None) == adapter, name
    for name, module in backbone.model.named_modules():
        assert module.training == (name.endswith(('.mlp', '.qkv')) and hasattr(module, 'up')), name
    assert not any(module.training for module in backbone.eval().modules())


def test_width_scale_and_dropout_of_adaptformer_are_those_of_the_released_code():
    for block in AdaptFormerViT(NAME, **SMALL).model.blocks:
        layer = block.mlp
        assert (layer.down.out_features, layer.scale, layer.dropout) == (64, 0.1, 0.1)


def test_the_dropout_of_adaptformer_acts_in_training_only():
    backbone = draw(AdaptFormerViT(NAME, adapter_dropout=0.5, **SMALL)).train()
    with torch.no_grad():
        assert not torch.equal(backbone(X.float()), backbone(X.float()))
        backbone.eval()
        assert torch.equal(backbone(X.float()), backbone(X.float()))


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match='width=0; use 1 at least'):
        AdaptFormerViT(NAME, width=0, **SMALL)
    with pytest.raises(ValueError, match=r"rank=0 and parts=\['q', 'v'\]"):
        LoRAViT(NAME, rank=0, **SMALL)
    with pytest.raises(ValueError, match=r"parts=\['o'\]; .*some of 'q', 'k', 'v'"):
        LoRAViT(NAME, parts=['o'], **SMALL)
