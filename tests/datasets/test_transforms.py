import subprocess
import sys

import pytest
import torch
from PIL import Image
from torch.testing import assert_close
from torchvision.transforms import v2

from ltcls.datasets import Cutout, SimAugment, Views, build_pipeline
from ltcls.datasets.transforms import TORCHVISION
from ltcls.engine.prepare import Options, load_config
from ltcls.registry import TRANSFORMS

IMAGE = torch.arange(3 * 32 * 32).reshape(3, 32, 32).remainder(251).to(torch.uint8)


@pytest.mark.parametrize('config, transform', [
    (dict(type='RandomCrop', size=32, padding=4), v2.RandomCrop(32, padding=4)),
    (dict(type='RandomResizedCrop', size=16, interpolation='bicubic'),
     v2.RandomResizedCrop(16, interpolation=v2.InterpolationMode.BICUBIC)),
    (dict(type='AutoAugment', policy='cifar10'), v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)),
    (dict(type='AutoAugment', policy='imagenet'), v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET)),
    (dict(type='RandAugment', num_ops=2, magnitude=9), v2.RandAugment(2, 9)),
    (dict(type='ToDtype', dtype='float32', scale=True), v2.ToDtype(torch.float32, scale=True)),
    (dict(type='RandomApply', transforms=[dict(type='RandomInvert', p=1.0)], p=0.5),
     v2.RandomApply([v2.RandomInvert(p=1.0)], p=0.5)),
])
def test_a_config_gives_the_transform_of_torchvision(config, transform):
    pipeline = build_pipeline([config])
    for seed in range(5):
        torch.manual_seed(seed)
        ours = pipeline(IMAGE)
        torch.manual_seed(seed)
        assert torch.equal(ours, transform(IMAGE))


def test_every_listed_name_exists_here():
    assert [name for name in TORCHVISION if not hasattr(v2, name)] == []
    assert TRANSFORMS.get('CenterCrop').__module__ == 'torchvision.transforms.v2'


def test_transforms_are_applied_in_order():
    pipeline = build_pipeline([dict(type='CenterCrop', size=8), dict(type='Pad', padding=1)])
    assert pipeline(IMAGE).shape == (3, 10, 10)
    assert build_pipeline([]) is None


def test_erasing_also_reaches_pil_images():
    pipeline = build_pipeline([dict(type='Resize', size=16), dict(type='RandomErasing', p=1.0)])
    erased = pipeline(Image.new('RGB', (16, 16), (200, 200, 200)))
    assert (erased == 0).any() and (erased == 200).any()


def test_a_conversion_to_float_also_reaches_pil_images():
    red = build_pipeline([dict(type='ToDtype', dtype='float32', scale=True)])(
        Image.new('RGB', (4, 4), (255, 0, 51)))
    assert red.dtype == torch.float32
    assert_close(red, torch.tensor([1.0, 0.0, 0.2]).view(3, 1, 1).expand(3, 4, 4))


def test_normalisation_follows_a_conversion_to_float():
    pipeline = build_pipeline([dict(type='ToDtype', dtype='float32', scale=True),
                               dict(type='Normalize', mean=[0.5] * 3, std=[0.25] * 3)])
    assert_close(pipeline(IMAGE), (IMAGE / 255 - 0.5) / 0.25)


def test_a_transform_inside_another_also_reaches_pil_images():
    pipeline = build_pipeline([dict(type='RandomApply', p=1.0, transforms=[
        dict(type='Compose', transforms=[dict(type='RandomErasing', p=1.0)])])])
    assert (pipeline(Image.new('RGB', (16, 16), (200, 200, 200))) == 0).any()


def test_what_a_transform_refuses_is_named_with_its_place():
    with pytest.raises(ValueError, match=r'^pipeline\[1\] \(RandomHorizontalFlip\): '):
        build_pipeline([dict(type='ToImage'), dict(type='RandomHorizontalFlip', p=2)])
    with pytest.raises(ValueError, match=r"^pipeline\[0\] \(Resize\): .*'sise'"):
        build_pipeline([dict(type='Resize', sise=3)])


def holes(cutout, size, draws):
    torch.manual_seed(0)
    return torch.stack([cutout(torch.ones(1, size, size))[0] == 0 for _ in range(draws)])


def test_the_hole_is_a_square_cut_off_at_the_border():
    masks = holes(Cutout(length=4), size=6, draws=200)
    for mask in masks:
        rows, columns = mask.any(dim=1), mask.any(dim=0)
        assert torch.equal(mask, rows[:, None] & columns)      # a rectangle
        assert 1 <= rows.sum() <= 4 and 1 <= columns.sum() <= 4
    assert masks.any(dim=2).sum(dim=1).min() < 4               # reaches over the border


def test_the_centre_of_the_hole_is_uniform_over_the_pixels():
    # Along one axis of 6 pixels a hole of 4 around centre y covers y - 2 .. y + 1. So pixel x is
    # covered by those of the centres x - 1 .. x + 2 that lie inside the image.
    covered = torch.tensor([3, 4, 4, 4, 3, 2], dtype=torch.float64) / 6
    share = holes(Cutout(length=4), size=6, draws=6000).double().mean(dim=0)
    # Four standard deviations of a share of 6000 draws are at most 0.026.
    assert (share - covered[:, None] * covered).abs().max() < 0.026


def test_holes_come_one_after_another_and_have_the_value():
    torch.manual_seed(0)
    cutout = Cutout(length=1, num_holes=2, value=7)
    images = torch.stack([cutout(torch.zeros(3, 8, 8, dtype=torch.uint8)) for _ in range(20)])
    assert set(images.unique().tolist()) == {0, 7}
    # Single pixels, which coincide in one draw of 64.
    sizes = (images == 7).all(dim=1).sum(dim=(1, 2))
    assert sizes.max() == 2 and sizes.float().mean() > 1.5


def test_only_torchvisions_containers_are_looked_into(monkeypatch):
    class PickOne:
        def __init__(self, transforms):
            self.transforms = transforms

    monkeypatch.setitem(TRANSFORMS._module_dict, 'PickOne', PickOne)
    for given in ([[dict(type='Pad', padding=1)], []], ['Brightness'], 5):
        config = dict(type='PickOne', transforms=given)
        load_config('ce_resnet20_digits', Options(
            cfg_options={'train_dataloader.dataset.pipeline': [config]}))       # checks it
        [step] = build_pipeline([config]).transforms
        assert step.transforms == given


def test_cutout_keeps_size_type_and_takes_pil_images():
    hidden = Cutout(length=16)(Image.new('RGB', (32, 24), (9, 9, 9)))
    assert (hidden.shape, hidden.dtype) == ((3, 24, 32), torch.uint8)
    assert (Cutout(length=1)(IMAGE) != IMAGE).any(dim=0).sum() <= 1
    with pytest.raises(ValueError, match='length=0'):
        Cutout(length=0)


def test_importing_the_data_sets_leaves_torchvision_alone():
    code = ("import sys, ltcls.datasets; "
            "print([m for m in ('torchvision', 'sklearn') if m in sys.modules])")
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                            check=True)
    assert result.stdout.strip().endswith('[]')


@pytest.mark.parametrize('pil', [False, True])
def test_views_are_made_of_the_same_image_one_by_one(pil):
    image = torch.arange(48, dtype=torch.uint8).view(3, 4, 4)
    pipeline = build_pipeline([
        dict(type='Pad', padding=1),
        dict(type='Views', transforms=[
            dict(type='Identity'),
            dict(type='Compose', transforms=[dict(type='RandomHorizontalFlip', p=1),
                                             dict(type='Cutout', length=1)])])])
    given = v2.functional.to_pil_image(image) if pil else image
    plain, flipped = pipeline(given)
    padded = v2.functional.pad(image, [1])
    assert torch.equal(plain, padded)
    assert (flipped != padded.flip(-1)).any(dim=0).sum() <= 1       # but for the hole


def test_views_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match=r'views of the shapes \[\[3, 4, 4\], \[3, 2, 2\]\]: let'):
        Views([dict(type='Identity'), dict(type='CenterCrop', size=2)])(
            torch.zeros(3, 4, 4, dtype=torch.uint8))


@pytest.mark.parametrize('pil', [False, True])
def test_simaugment_changes_crop_side_and_colours(pil):
    torch.manual_seed(0)
    image = torch.zeros(3, 40, 40, dtype=torch.uint8)
    image[0, :, :20], image[1, :, 20:] = 200, 200              # red beside green
    transform = SimAugment(size=16)
    views = torch.stack([
        v2.functional.pil_to_tensor(transform(v2.functional.to_pil_image(image))) if pil
        else transform(image) for _ in range(400)]).float()
    assert views.shape == (400, 3, 16, 16)
    grey = (views.amax(1) - views.amin(1)).flatten(1).amax(1) <= 1
    assert grey.float().mean() == pytest.approx(0.2, abs=0.06)
    left, right = views[..., :4].mean((2, 3)), views[..., -4:].mean((2, 3))
    both = ~grey & ((left[:, 0] - right[:, 0]).abs() > 60)      # the border is in the crop
    assert both.sum() > 60
    assert (left[both, 0] > right[both, 0]).float().mean() == pytest.approx(0.5, abs=0.2)
