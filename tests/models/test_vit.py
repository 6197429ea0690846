"""Frozen and prompted Vision Transformers against timm, slow copies and worked numbers."""

import math

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from ltcls.models.backbones import FrozenViT, PromptedViT, TimmBackbone
from ltcls.models.backbones.vit_weights import from_npz, resize_positions
from ltcls.optim_wrappers import GNM
from ltcls.registry import MODELS

NAME = 'vit_tiny_patch16_224'
SMALL = dict(img_size=16, patch_size=4, embed_dim=32, depth=2, num_heads=2)
KINDS = dict(
    token={}, average=dict(global_pool='avg'), layer_scale=dict(init_values=0.1),
    registers=dict(reg_tokens=2, no_embed_class=True), clip=dict(pre_norm=True, qkv_bias=False))


def images(size=16, count=3, dtype=torch.float32):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1)).to(dtype)


def prompted(**arguments):
    """A small prompted ViT in float64 whose values are all different from where they start."""
    torch.manual_seed(0)
    backbone = PromptedViT(NAME, **{**SMALL, 'num_prompts': 3, **arguments}).double().eval()
    with torch.no_grad():
        for value in backbone.parameters():
            value.add_(0.3 * torch.randn_like(value))
    return backbone


def slow_block(block, x, heads):
    """One pre-norm block of a ViT, head by head, for one sequence [T, D]."""
    h = F.layer_norm(x, x.shape[-1:], block.norm1.weight, block.norm1.bias, eps=1e-6)
    q, k, v = (h @ block.attn.qkv.weight.T + block.attn.qkv.bias).chunk(3, dim=1)
    width, mixed = x.size(1) // heads, []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        scores = q[:, part] @ k[:, part].T / math.sqrt(width)
        mixed.append(scores.exp() / scores.exp().sum(dim=1, keepdim=True) @ v[:, part])
    x = x + torch.cat(mixed, dim=1) @ block.attn.proj.weight.T + block.attn.proj.bias
    h = F.layer_norm(x, x.shape[-1:], block.norm2.weight, block.norm2.bias, eps=1e-6)
    h = h @ block.mlp.fc1.weight.T + block.mlp.fc1.bias
    h = h * (1 + torch.erf(h / math.sqrt(2))) / 2
    return x + h @ block.mlp.fc2.weight.T + block.mlp.fc2.bias


def slow_features(backbone, batch, pool, deep):
    """Prompts right behind the class token, as in the paper; one image after the other."""
    vit, found = backbone.model, []
    for image in batch:
        side = vit.patch_embed.proj.weight.size(-1)
        patches = [image[:, row:row + side, column:column + side].flatten()
                   for row in range(0, image.size(1), side)
                   for column in range(0, image.size(2), side)]
        kernel = vit.patch_embed.proj.weight.flatten(1)
        x = torch.stack(patches) @ kernel.T + vit.patch_embed.proj.bias
        x = torch.cat([vit.cls_token[0], x]) + vit.pos_embed[0]
        count = backbone.prompts.size(1)
        for index, block in enumerate(vit.blocks):
            if deep or index == 0:
                rest = x[1:] if index == 0 else x[1 + count:]
                x = torch.cat([x[:1], backbone.prompts[index], rest])
            x = slow_block(block, x, heads=2)
        feature = F.layer_norm(x[0], x.shape[-1:], vit.norm.weight, vit.norm.bias, eps=1e-6)
        if pool == 'prompts':
            feature = (feature + x[1:1 + count].mean(dim=0)) / 2
        found.append(feature)
    return torch.stack(found)


# -- features -------------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', KINDS)
def test_without_prompts_the_features_are_those_of_timm(kind):
    whole = timm.create_model(NAME, num_classes=7, **SMALL, **KINDS[kind]).eval()
    x = images()
    expected = whole.forward_head(whole.forward_features(x), pre_logits=True)
    frozen, removed = (cls(NAME, **SMALL, **KINDS[kind]).eval() for cls in (FrozenViT, PromptedViT))
    state = {key: value for key, value in whole.state_dict().items() if 'head.' not in key}
    for backbone in (frozen, removed):
        backbone.model.load_state_dict(state)
    removed.prompts = nn.Parameter(removed.prompts[:, :0])
    assert_close(frozen(x), expected, atol=1e-6, rtol=0)
    assert_close(removed(x), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize('pool', ['timm', 'prompts'])
@pytest.mark.parametrize('prompts', ['deep', 'shallow'])
def test_prompts_at_the_end_give_the_features_of_prompts_behind_the_class_token(prompts, pool):
    backbone, x = prompted(prompts=prompts, pool=pool), images(dtype=torch.float64)
    assert_close(backbone(x), slow_features(backbone, x, pool, prompts == 'deep'),
                 atol=1e-10, rtol=0)


def test_the_features_of_gnm_pt_by_hand():
    # Class token (1, 2, 3, 6), last prompts (0, 1, 0, 1) and (2, 1, 2, 1): only the former is
    # normalised.
    class Given(nn.Module):
        def forward(self, x):
            return torch.tensor([[1., 2, 3, 6], [9, 9, 9, 9], [0, 1, 0, 1], [2, 1, 2, 1]])[None]

    backbone = PromptedViT(NAME, num_prompts=2, pool='prompts', img_size=4, patch_size=4,
                           embed_dim=4, depth=1, num_heads=1).eval()
    backbone.model.blocks = nn.Sequential(Given())
    features = backbone(images(4, 1))
    assert_close(features, torch.tensor([[-.034522, .232739, .5, 1.301784]]), atol=1e-6, rtol=0)
    head = MODELS.build(dict(type='CosineHead', num_features=4, num_classes=3, scale=1))
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1., 0, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1]]))
    assert_close(head(features), torch.tensor([[-.024411, .366369, .707107]]), atol=1e-6, rtol=0)


def test_more_copies_of_a_prompt_weigh_as_much_as_the_copies():
    # Attention does not see the order of prompts: a permutation changes nothing.
    backbone, x = prompted(), images(dtype=torch.float64)
    before = backbone(x)
    with torch.no_grad():
        backbone.prompts.copy_(backbone.prompts[:, [2, 0, 1]])
    assert_close(backbone(x), before)


# -- what trains ----------------------------------------------------------------------------------


def test_gnm_pt_trains_168_960_numbers_and_leaves_85_798_656():
    with torch.device('meta'):
        model = MODELS.build(dict(
            type='Classifier', head=dict(type='CosineHead', scale=25), loss=dict(type='GCLLoss'),
            backbone=dict(type='PromptedViT', name='vit_base_patch16_224', weights='timm'),
            data_preprocessor=dict(type='BatchPreprocessor', num_classes=100, mean=[0.5] * 3,
                                   std=[0.5] * 3)))
    sizes = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    assert sizes == {'backbone.prompts': 92_160, 'head.weight': 76_800}
    assert sum(p.numel() for p in model.backbone.model.parameters()) == 85_798_656


def test_prompts_start_as_in_vpt_or_as_a_narrow_normal():
    torch.manual_seed(0)
    vpt = PromptedViT(NAME, num_prompts=500, **SMALL).prompts
    bound = (6 / (3 * 4 * 4 + 32)) ** 0.5
    assert bound * 0.999 < vpt.abs().max() < bound
    assert vpt.std().item() == pytest.approx(bound / 3 ** 0.5, rel=0.02)
    normal = PromptedViT(NAME, num_prompts=500, init='normal', **SMALL).prompts
    assert normal.std().item() == pytest.approx(0.02, rel=0.02)


def test_the_frozen_network_stays_in_eval_mode_and_dropout_acts_on_features_and_prompts():
    backbone = PromptedViT(NAME, feature_dropout=0.5, prompt_dropout=0.5, drop_path_rate=0.5,
                           **SMALL)
    x = images()
    with torch.no_grad():
        rest = backbone.eval()(x)
        assert torch.equal(backbone(x), rest)
        backbone.train()
        assert backbone.training and not any(m.training for m in backbone.model.modules())
        share = (backbone(images(count=50)) == 0).float().mean()
    assert 0.4 < share < 0.6


def test_the_dropout_of_prompts_acts_in_training_and_on_them_alone():
    backbone, x = PromptedViT(NAME, prompt_dropout=0.5, **SMALL).train(), images()
    with torch.no_grad():
        assert not torch.equal(backbone(x), backbone(x))
        backbone.prompts.zero_()
        assert torch.equal(backbone(x), backbone(x))
        assert torch.equal(backbone(x), backbone.eval()(x))


def test_a_step_moves_prompts_and_head_and_nothing_else():
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='Classifier', head=dict(type='CosineHead', scale=25, init='normal'),
        loss=dict(type='GCLLoss', margin=0.1),
        backbone=dict(type='PromptedViT', name=NAME, pool='prompts', init='normal', **SMALL),
        data_preprocessor=dict(type='BatchPreprocessor', num_classes=5, mean=[0.5] * 3,
                               std=[0.5] * 3)))
    model.bind([16, 8, 4, 2, 1])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wrapper = GNM(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3))
    batch = dict(inputs=torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8),
                 labels=torch.arange(8) % 5)
    model.train().train_step(batch, wrapper)
    moved = {name for name, value in model.state_dict().items()
             if not torch.equal(value, before[name])}
    assert moved == {'backbone.prompts', 'head.weight'}


def stored(backbone, x):
    """Numbers that autograd keeps of a forward pass, parameters left aside."""
    own = {p.untyped_storage().data_ptr() for p in backbone.parameters()}
    kept = {}

    def pack(tensor):
        pointer = tensor.untyped_storage().data_ptr()
        if pointer not in own:
            kept[pointer] = tensor.untyped_storage().nbytes() // tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = backbone(x)
    return sum(kept.values()), result


def test_autograd_keeps_nothing_of_a_frozen_network_and_less_than_of_a_trained_one():
    x = images(count=8)
    numbers, features = stored(FrozenViT(NAME, **SMALL).train(), x)
    assert numbers == 0 and not features.requires_grad
    backbone = PromptedViT(NAME, **SMALL).train()
    frozen, features = stored(backbone, x)
    assert features.requires_grad
    backbone.model.requires_grad_(True)
    trained, _ = stored(backbone, x)
    # The inputs of qkv, of fc1 (each D numbers a token) and of fc2 (4 D), in both blocks.
    tokens = 8 * (1 + 16 + 10)
    assert trained - frozen >= 2 * (1 + 1 + 4) * tokens * 32


def test_words_that_are_not_known_are_refused():
    for wrong, match in ((dict(num_prompts=0), 'num_prompts=0.*FrozenViT'),
                         (dict(prompts='wide'), "prompts='wide'; use deep or shallow"),
                         (dict(init='zero'), "init='zero'; use vpt or normal"),
                         (dict(pool='mean'), "pool='mean'; use timm or prompts"),
                         (dict(positions='linear'), "positions='linear' is not known")):
        with pytest.raises(ValueError, match=match):
            PromptedViT(NAME, **SMALL, **wrong)
    with pytest.raises(ValueError, match="no model 'vit_nano'"):
        PromptedViT('vit_nano')
    with pytest.raises(ValueError, match="'resnet10t' is a ResNet and no VisionTransformer"):
        FrozenViT('resnet10t')


# -- weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize(('positions', 'first'), [
    ('official', (0, .333333, .666667, 1)), ('bilinear', (0, .25, .75, 1)),
    ('mae', (-.316406, .015625, .5625, .894531)), ('timm', (-.264706, .030672, .616387, .911765))])
def test_position_embeddings_on_a_finer_grid(positions, first):
    table = torch.tensor([7., 0, 1, 2, 3]).view(1, 5, 1)
    finer = resize_positions(table, (4, 4), prefix=1, positions=positions)
    assert finer.shape == (1, 17, 1) and finer[0, 0] == 7
    assert_close(finer[0, 1:5, 0], torch.tensor(first), atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match='The 5 position embeddings .* no square'):
        resize_positions(table, (4, 4), prefix=0)


def google_arrays(new=False, width=32, heads=2, depth=2, patch=4, tokens=17):
    """Random values in the layout of Google's files, old or new."""
    draw = np.random.default_rng(0)
    attention, first, second, mlp = (
        ('MultiHeadDotProductAttention_0', 'LayerNorm_0', 'LayerNorm_1', 'MlpBlock_0') if new else
        ('MultiHeadDotProductAttention_1', 'LayerNorm_0', 'LayerNorm_2', 'MlpBlock_3'))
    shapes = {'cls': (1, 1, width), 'embedding/kernel': (patch, patch, 3, width),
              'embedding/bias': (width,), 'pre_logits/kernel': (width, width),
              'pre_logits/bias': (width,), 'head/kernel': (width, 9), 'head/bias': (9,),
              'pos_embedding' if new else 'Transformer/posembed_input/pos_embedding':
              (1, tokens, width)}
    norms = ['Transformer/encoder_norm']
    for index in range(depth):
        block = f'Transformer/encoderblock_{index}'
        norms += [f'{block}/{first}', f'{block}/{second}']
        for part in ('query', 'key', 'value'):
            shapes[f'{block}/{attention}/{part}/kernel'] = (width, heads, width // heads)
            shapes[f'{block}/{attention}/{part}/bias'] = (heads, width // heads)
        shapes[f'{block}/{attention}/out/kernel'] = (heads, width // heads, width)
        shapes[f'{block}/{attention}/out/bias'] = (width,)
        for number, (before, after) in enumerate(((width, 4 * width), (4 * width, width))):
            shapes[f'{block}/{mlp}/Dense_{number}/kernel'] = (before, after)
            shapes[f'{block}/{mlp}/Dense_{number}/bias'] = (after,)
    for norm in norms:
        shapes[f'{norm}/scale'] = shapes[f'{norm}/bias'] = (width,)
    return {name: draw.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}


def google_features(arrays, batch, heads=2, depth=2, patch=4):
    """The features by the arrays themselves, in float64: kernels [in, out], heads by einsum."""
    def get(name):
        return torch.from_numpy(arrays[name]).double()

    def dense(x, name, formula='btd,de->bte'):
        return torch.einsum(formula, x, get(f'{name}/kernel')) + get(f'{name}/bias')

    def norm(x, name):
        centred = x - x.mean(dim=-1, keepdim=True)
        deviation = (centred.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
        return centred / deviation * get(f'{name}/scale') + get(f'{name}/bias')

    x = batch.unfold(2, patch, patch).unfold(3, patch, patch)      # [B, 3, rows, columns, p, p]
    x = torch.einsum('bcijhw,hwcd->bijd', x, get('embedding/kernel')).flatten(1, 2)
    x = torch.cat([get('cls').expand(len(x), -1, -1), x + get('embedding/bias')], dim=1)
    x = x + get('Transformer/posembed_input/pos_embedding')
    for index in range(depth):
        block = f'Transformer/encoderblock_{index}'
        attention = f'{block}/MultiHeadDotProductAttention_1'
        h = norm(x, f'{block}/LayerNorm_0')
        q, k, v = (dense(h, f'{attention}/{part}', 'btd,dhe->bthe')
                   for part in ('query', 'key', 'value'))
        scores = torch.einsum('bqhe,bkhe->bhqk', q, k) / math.sqrt(q.size(-1))
        mixed = torch.einsum('bhqk,bkhe->bqhe', scores.softmax(dim=-1), v)
        x = x + dense(mixed, f'{attention}/out', 'bthe,hed->btd')
        h = dense(norm(x, f'{block}/LayerNorm_2'), f'{block}/MlpBlock_3/Dense_0')
        x = x + dense(F.gelu(h), f'{block}/MlpBlock_3/Dense_1')
    return norm(x, 'Transformer/encoder_norm')[:, 0]


def test_a_file_of_google_gives_the_features_of_its_arrays(tmp_path):
    arrays = google_arrays()
    np.savez(tmp_path / 'ViT.npz', **arrays)
    backbone = FrozenViT(NAME, weights=str(tmp_path / 'ViT.npz'), **SMALL).double().eval()
    x = images(dtype=torch.float64)
    assert_close(backbone(x), google_features(arrays, x), atol=1e-9, rtol=0)


def test_older_and_newer_files_of_google_hold_the_same_under_other_names(tmp_path):
    expected = from_npz_of(tmp_path, google_arrays())
    older = {f'opt/target/{name}': value for name, value in google_arrays().items()}
    newer = [{f'{prefix}{name}': value for name, value in google_arrays(new=True).items()}
             for prefix in ('params/', 'params/img/')]
    for arrays in (older, *newer):
        found = from_npz_of(tmp_path, arrays)
        assert {name: value.shape for name, value in found.items()} == {
            name: value.shape for name, value in expected.items()}
    assert_close(from_npz_of(tmp_path, older), expected)


def from_npz_of(folder, arrays):
    np.savez(folder / 'x.npz', **arrays)
    return from_npz(folder / 'x.npz')


def test_a_file_for_another_image_size_is_read_as_timm_reads_it(tmp_path):
    np.savez(tmp_path / 'vit.npz', **google_arrays())
    larger = dict(SMALL, img_size=24)
    expected = timm.create_model(NAME, num_classes=0, **larger)
    expected.load_pretrained(str(tmp_path / 'vit.npz'))
    found = FrozenViT(NAME, weights=str(tmp_path / 'vit.npz'), **larger)
    assert_close(found.model.state_dict(), expected.state_dict())

    whole = timm.create_model(NAME, num_classes=7, **SMALL)
    torch.save(whole.state_dict(), tmp_path / 'vit.pth')
    whole.set_input_size(24)
    found = FrozenViT(NAME, weights=str(tmp_path / 'vit.pth'), **larger)
    assert_close(found.model.pos_embed, whole.pos_embed)
    assert found.model.pos_embed.shape == (1, 37, 32) and not found.model.pos_embed.requires_grad


def test_state_dicts_are_read_alone_and_inside_checkpoints(tmp_path):
    from safetensors.torch import save_file
    whole = timm.create_model(NAME, num_classes=7, **SMALL)
    state = whole.state_dict()
    save_file(state, tmp_path / 'plain.safetensors')
    torch.save(dict(model=state), tmp_path / 'nested.pth')
    torch.save(dict(teacher={f'module.backbone.{k}': v for k, v in state.items()}),
               tmp_path / 'dino.pth')
    # A run of ltcls on the same network, trained as a whole.
    torch.save(dict(meta=dict(epoch=3), state_dict={
        **{f'backbone.model.{k}': v for k, v in state.items() if 'head' not in k},
        'head.weight': torch.zeros(4, 32)}), tmp_path / 'epoch_3.pth')
    for path in sorted(tmp_path.iterdir()):
        model = PromptedViT(NAME, weights=str(path), **SMALL).model
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name]), f'{path.name}: {name}'


def test_a_file_of_dinov2_with_registers_is_read_as_timm_reads_it(tmp_path):
    options = dict(SMALL, reg_tokens=2, no_embed_class=True)
    whole = timm.create_model(NAME, num_classes=0, **options)
    state = whole.state_dict()
    state['register_tokens'] = state.pop('reg_token')
    state['mask_token'] = torch.zeros(1, 32)
    state['pos_embed'] = torch.cat([torch.ones(1, 1, 32), state['pos_embed']], dim=1)
    path = tmp_path / 'dinov2_reg.pth'
    torch.save(state, path)
    found = FrozenViT(NAME, weights=str(path), **options).model.state_dict()
    for name, value in whole.state_dict().items():
        assert torch.equal(found[name], value + 1 if name == 'cls_token' else value), name
    larger = FrozenViT(NAME, weights=str(path), **dict(options, img_size=24)).model
    whole.set_input_size(24)
    assert_close(larger.pos_embed, whole.pos_embed)


def test_weights_that_are_not_there_are_asked_for_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for weights, remedy in (('w/ViT-B_16.npz', 'https://storage.googleapis.com/vit_models'),
                            ('runs/ce_vit/epoch_15.pth', 'ltcls train ce_vit'),
                            ('w/vit.safetensors', "'timm' to have timm download")):
        with pytest.raises(FileNotFoundError) as error:
            FrozenViT(NAME, weights=weights, **SMALL)
        text = str(error.value)
        assert f"model.backbone.weights='{weights}'" in text and str(tmp_path / weights) in text
        assert remedy in text and '\n' not in text


def test_without_a_network_the_hub_is_named_and_the_way_around_it(monkeypatch):
    import huggingface_hub
    name = 'vit_base_patch16_224.augreg_in21k'
    asked = []

    def offline(url, **options):
        asked.append(url)
        raise ConnectionError('no route to host\nand a page of details')

    monkeypatch.setattr(huggingface_hub, 'get_hf_file_metadata', offline)
    monkeypatch.setattr(huggingface_hub, 'try_to_load_from_cache', lambda *a, **k: None)
    with pytest.raises(OSError) as error:
        FrozenViT(name, weights='timm', **SMALL)
    text = str(error.value)
    assert f'https://huggingface.co/timm/{name} (no route to host)' in text
    assert 'cache' in text and '\n' not in text and len(asked) == 1
    assert asked[0].endswith(f'timm/{name}/resolve/main/model.safetensors')
    with pytest.raises(ValueError, match="positions='mae' needs the weights as a file"):
        FrozenViT(NAME, weights='timm', positions='mae')
    with pytest.raises(OSError, match=r"no weights for 'test_vit.none'"):
        FrozenViT('test_vit.none', weights='timm')


def test_cached_weights_are_left_to_timm(monkeypatch):
    import huggingface_hub
    whole, create = timm.create_model(NAME, num_classes=0, **SMALL), timm.create_model

    def cached(name, pretrained=False, **options):
        return whole if pretrained else create(name, **options)

    def asked(url, **options):
        raise AssertionError('asked the network for what is cached')

    monkeypatch.setattr(timm, 'create_model', cached)
    monkeypatch.setattr(huggingface_hub, 'get_hf_file_metadata', asked)
    monkeypatch.setattr(huggingface_hub, 'try_to_load_from_cache', lambda *a, **k: '/cache/file')
    assert FrozenViT('vit_base_patch16_224.augreg_in21k', weights='timm', **SMALL).model is whole


def test_a_file_for_another_network_is_refused_with_the_first_difference(tmp_path):
    state = timm.create_model(NAME, num_classes=0, **SMALL).state_dict()
    path = str(tmp_path / 'vit.pth')

    def refused(content, match, **options):
        torch.save(content, path)
        with pytest.raises(ValueError, match=match):
            FrozenViT(NAME, weights=path, **dict(SMALL, **options))

    refused(state, r"lacks 'blocks.2.norm1.weight', and 11 others", depth=3)
    refused(state, r"holds 'blocks.1.norm1.weight'", depth=1)
    refused(state, r"'blocks.0.mlp.fc1.weight' has shape \[128, 32\] there and \[64, 32\] here",
            mlp_ratio=2)
    refused(state, r"'patch_embed.proj.weight' has shape \[32, 3, 4, 4\] there and",
            patch_size=8)
    refused({}, "lacks 'cls_token'")
    (tmp_path / 'vit.pth').write_bytes(b'no weights at all')
    with pytest.raises(ValueError, match='vit.pth cannot be read as weights'):
        FrozenViT(NAME, weights=path, **SMALL)
    np.savez(tmp_path / 'vit.npz', a=np.zeros(1))
    with pytest.raises(ValueError, match="no 'embedding/kernel'"):
        FrozenViT(NAME, weights=str(tmp_path / 'vit.npz'), **SMALL)


def test_a_trained_vit_lends_its_weights_to_one_with_prompts(tmp_path):
    from ltcls.engine.checkpoint import load_init, write_init
    parts = dict(type='Classifier', head=dict(type='LinearHead'),
                 loss=dict(type='CrossEntropyLoss'), data_preprocessor=dict(
                     type='BatchPreprocessor', num_classes=5, mean=[0.5] * 3, std=[0.5] * 3))
    first = MODELS.build(dict(parts, backbone=dict(type='TimmBackbone', name=NAME, **SMALL)))
    second = MODELS.build(dict(parts, backbone=dict(type='PromptedViT', name=NAME, **SMALL)))
    torch.save(dict(state_dict=first.state_dict()), tmp_path / 'epoch_1.pth')
    write_init(tmp_path / 'epoch_1.pth', tmp_path / 'init.pth', ['backbone'])
    prompts = second.backbone.prompts.clone()
    assert 'new here: backbone.prompts' in load_init(second, tmp_path / 'init.pth')
    assert_close(second.backbone.model.state_dict(), first.backbone.model.state_dict())
    assert torch.equal(second.backbone.prompts, prompts)
    assert isinstance(first.backbone, TimmBackbone)
