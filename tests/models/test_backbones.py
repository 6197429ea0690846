"""Backbones against their definition, or against the libraries' own features."""

from urllib.error import URLError

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ltcls.models.backbones import CIFARResNet, TimmBackbone, TorchvisionBackbone
from ltcls.models.backbones.cifar_resnet import BasicBlock
from ltcls.registry import MODELS


def parameters(module):
    return sum(p.numel() for p in module.parameters())


# -- CIFAR ResNet ---------------------------------------------------------------------------


@pytest.mark.parametrize('depth, size', [(20, 269_722), (32, 464_154), (44, 658_586),
                                         (56, 853_018)])
def test_sizes_with_a_head_of_ten_classes(depth, size):
    backbone = CIFARResNet(depth)
    head = MODELS.build(dict(type='LinearHead', num_features=64, num_classes=10))
    assert parameters(backbone) + parameters(head) == size
    convolutions = [m for m in backbone.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == depth - 1          # the head is the last of the weighted layers


@pytest.mark.parametrize('depth', [2, 18, 33, 34])
def test_a_depth_that_is_not_six_n_plus_two_is_refused(depth):
    with pytest.raises(ValueError, match=rf'depth={depth} must be 6 n \+ 2'):
        CIFARResNet(depth)


def test_the_shortcut_takes_every_second_pixel_and_adds_zero_channels():
    x = torch.arange(2 * 16 * 4 * 4, dtype=torch.float32).view(2, 16, 4, 4)
    shortcut = BasicBlock(16, 32, stride=2).shortcut(x)
    assert shortcut.shape == (2, 32, 2, 2)
    for row in range(2):
        for column in range(2):
            expected = torch.zeros(2, 32)
            expected[:, 8:24] = x[:, :, 2 * row, 2 * column]
            assert torch.equal(shortcut[:, :, row, column], expected)
    assert BasicBlock(16, 16, stride=1).shortcut(x) is x


def test_features_by_hand():
    # Every convolution at zero and batch norm at its start: only the shortcuts of the stem remain.
    backbone = CIFARResNet(8, in_channels=1).eval()
    with torch.no_grad():
        for name, module in backbone.named_modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.zero_()
        backbone.conv1.weight[:, 0, 1, 1] = torch.arange(16).float()
    x = torch.rand(2, 1, 8, 8)
    expected = torch.zeros(2, 64)
    kept = x[:, 0, ::4, ::4].mean(dim=(1, 2))
    # Channels 0..15 lie at 8..23 of the second group and at 24..39 of the third.
    expected[:, 24:40] = kept[:, None] * torch.arange(16) / (1 + 1e-5) ** 0.5
    assert_close(backbone(x), expected)


def test_convolutions_start_from_kaiming_normal_values():
    torch.manual_seed(0)
    weight = CIFARResNet(32).layer3[2].conv1.weight
    assert abs(weight.std().item() / (2 / (64 * 9)) ** 0.5 - 1) < 0.02


def test_any_image_size_gives_64_features():
    backbone = CIFARResNet(8).eval()
    assert backbone(torch.rand(1, 3, 32, 32)).shape == (1, backbone.num_features)
    assert backbone(torch.rand(2, 3, 28, 40)).shape == (2, 64)


# -- torchvision ----------------------------------------------------------------------------


@pytest.mark.parametrize('name, layer', [('resnet18', 'fc'),
                                         ('mobilenet_v3_small', 'classifier.3')])
def test_torchvision_features_are_the_input_of_the_last_layer(name, layer):
    from torchvision import models
    torch.manual_seed(0)
    backbone = TorchvisionBackbone(name).eval()
    torch.manual_seed(0)
    whole = models.get_model(name, weights=None).eval()
    seen = {}
    last = whole.get_submodule(layer)
    last.register_forward_hook(lambda module, inputs, output: seen.update(features=inputs[0]))
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        whole(x)
        features = backbone(x)
    assert backbone.num_features == last.in_features == features.size(1)
    assert_close(features, seen['features'])
    assert parameters(backbone) == parameters(whole) - parameters(last)


def test_a_model_without_a_last_linear_layer_is_refused():
    with pytest.raises(ValueError, match='does not end in a linear layer.*TimmBackbone'):
        TorchvisionBackbone('squeezenet1_1')


def test_unknown_names_are_refused_with_the_way_to_the_list():
    with pytest.raises(ValueError, match=r"no classifier 'resnet19'.*list_models"):
        TorchvisionBackbone('resnet19')
    with pytest.raises(ValueError, match=r"no classifier 'fasterrcnn_resnet50_fpn'"):
        TorchvisionBackbone('fasterrcnn_resnet50_fpn')
    with pytest.raises(ValueError, match=r"no model 'vit_nano'.*list_models"):
        TimmBackbone('vit_nano')


# -- timm -----------------------------------------------------------------------------------

TIMM = [('vit_tiny_patch16_224', dict(img_size=32, depth=2)), ('resnet10t', {}),
        ('mobilenetv3_small_050', {})]


@pytest.mark.parametrize('name, options', TIMM)
def test_timm_features_are_those_before_the_classifier(name, options):
    import timm
    torch.manual_seed(0)
    backbone = TimmBackbone(name, **options).eval()
    whole = timm.create_model(name, num_classes=7, **options).eval()
    state = {k.removeprefix('model.'): v for k, v in backbone.state_dict().items()}
    assert not whole.load_state_dict(state, strict=False).unexpected_keys
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        features = backbone(x)
        expected = whole.forward_head(whole.forward_features(x), pre_logits=True)
        logits = whole.get_classifier()(features)
        assert_close(features, expected)
        assert_close(logits, whole(x))
    assert features.shape == (2, backbone.num_features)


def test_a_local_weight_file_is_loaded_and_one_that_does_not_fit_is_refused(tmp_path):
    import timm
    whole = timm.create_model('resnet10t', num_classes=7)
    path = tmp_path / 'weights.pth'
    torch.save(whole.state_dict(), path)
    backbone = TimmBackbone('resnet10t', checkpoint=str(path))
    assert torch.equal(backbone.model.layer1[0].conv1.weight, whole.layer1[0].conv1.weight)
    torch.save({'some.weight': torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r'weights.pth lacks \d+ weights of this model'):
        TimmBackbone('resnet10t', checkpoint=str(path))


def test_absent_weights_of_torchvision_name_the_file_and_its_place(monkeypatch):
    from torchvision import models
    build = models.get_model

    def offline(name, weights=None, **options):
        if weights is not None:
            raise URLError('no network')
        return build(name, **options)

    monkeypatch.setattr(models, 'get_model', offline)
    with pytest.raises(OSError, match="weights 'IMAGENET1K_V1' of torchvision's resnet18 are not in "
                                      '.*checkpoints, and the download failed .*no network.*Put '
                                      'https://download.pytorch.org/models/resnet18.*pth there'):
        TorchvisionBackbone(name='resnet18', weights='IMAGENET1K_V1')


@pytest.mark.parametrize(('name', 'weights', 'options'), [
    ('inception_v3', 'IMAGENET1K_V1', {}), ('googlenet', 'DEFAULT', {}),
    ('vit_b_16', 'IMAGENET1K_SWAG_E2E_V1', {}), ('resnet18', 'DEFAULT', {}),
    ('resnet18', 'ResNet18_Weights.IMAGENET1K_V1', {})])
def test_without_loading_the_network_is_that_of_the_weights(monkeypatch, name, weights, options):
    from torchvision.models import WeightsEnum
    monkeypatch.setattr(WeightsEnum, 'get_state_dict', lambda *args, **kwargs: {})
    monkeypatch.setattr(nn.Module, 'load_state_dict', lambda *args, **kwargs: None)
    with torch.device('meta'):
        whole = TorchvisionBackbone(name, weights, **options)
        empty = TorchvisionBackbone(name, weights, load=False, **options)
    shapes = [{key: value.shape for key, value in backbone.state_dict().items()}
              for backbone in (whole, empty)]
    assert shapes[0] == shapes[1]
    for part in ('transform_input', 'image_size', 'aux_logits'):
        assert getattr(whole.model, part, None) == getattr(empty.model, part, None)


def test_a_redrawn_part_has_other_values_than_the_pretrained_rest(monkeypatch):
    from torchvision import models
    build = models.get_model

    def pretrained(name, weights=None, **options):
        model = build(name, **options)
        if weights is not None:
            for value in model.parameters():
                nn.init.constant_(value, 7)
        return model

    monkeypatch.setattr(models, 'get_model', pretrained)
    model = TorchvisionBackbone(name='resnet18', weights='IMAGENET1K_V1',
                                redrawn=['layer4.1']).model
    assert (model.layer4[0].conv1.weight == 7).all() and (model.conv1.weight == 7).all()
    fresh = model.layer4[1].conv1.weight
    assert fresh.abs().max() < 1 and fresh.std() > 0
    with pytest.raises(ValueError, match="redrawn names 'layer5'"):
        TorchvisionBackbone(name='resnet18', redrawn=['layer5'])


def test_timm_weights_that_cannot_be_had_are_asked_for_in_one_line(tmp_path, monkeypatch):
    def unreachable(source):
        raise OSError('no network')
    monkeypatch.setattr('ltcls.models.backbones.timm_hub._ask', unreachable)
    with pytest.raises(OSError, match=r'(?s)^[^\n]*\(no network\)[^\n]*set model.backbone.checkpoint '
                                      r'to its path\.$'):
        TimmBackbone('resnet18.a1_in1k', pretrained=True)
