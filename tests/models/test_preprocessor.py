"""Augmentation, normalisation and mixing of whole batches against slow and against other forms."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close
from torchvision.transforms import v2

from ltcls.models import BatchPreprocessor, CutMix, MixedLabels, Mixup, PadCropFlip

MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]


def images(count=6, channels=3, height=8, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, height, width), generator=generator,
                         dtype=torch.uint8)


def preprocessor(**options):
    return BatchPreprocessor(**dict(dict(num_classes=4, mean=MEAN, std=STD), **options))


# -- crop and flip --------------------------------------------------------------------------


def one_by_one(batch, transform):
    """PadCropFlip image by image, with the draws that the batch form makes."""
    pad, (count, _, height, width) = transform.padding, batch.shape
    top, left = torch.randint(0, 2 * pad + 1, (2, count, 1))[:, :, 0].tolist()
    flips = (torch.rand(count, 1) < transform.flip)[:, 0].tolist()
    results = []
    for image, row, column, flip in zip(batch, top, left, flips):
        mode = 'constant' if transform.mode == 'zeros' else 'reflect'
        padded = F.pad(image.double(), (pad,) * 4, mode=mode).to(image.dtype)
        cropped = padded[:, row:row + height, column:column + width]
        results.append(cropped.flip(-1) if flip else cropped)
    return torch.stack(results)


@pytest.mark.parametrize('mode', ['zeros', 'reflect'])
@pytest.mark.parametrize('shape', [(16, 3, 8, 8), (5, 1, 6, 9), (1, 3, 8, 8)])
def test_crop_and_flip_equal_padding_slicing_and_mirroring(mode, shape):
    transform, batch = PadCropFlip(padding=3, mode=mode), images(*shape)
    for seed in range(3):
        torch.manual_seed(seed)
        found = transform(batch)
        torch.manual_seed(seed)
        expected = one_by_one(batch, transform)
        assert found.dtype == torch.uint8 and torch.equal(found, expected)


def test_without_padding_and_flip_nothing_happens():
    batch = images()
    assert torch.equal(PadCropFlip(padding=0, flip=0.0)(batch), batch)
    assert torch.equal(PadCropFlip(padding=0, flip=1.0)(batch), batch.flip(-1))


def test_offsets_and_flips_are_distributed_as_in_torchvision():
    # 3x3 images, one pixel of padding: 9 offsets times 2 directions, each with probability 1/18.
    size, count = 3, 3600
    image = torch.arange(1, size * size + 1, dtype=torch.uint8).view(1, size, size)
    torch.manual_seed(0)
    ours = PadCropFlip(padding=1)(image.expand(count, 1, size, size))
    single = v2.Compose([v2.RandomCrop(size, padding=1), v2.RandomHorizontalFlip(0.5)])
    theirs = torch.stack([single(image) for _ in range(count)])
    distinct = [Counter(tuple(x.flatten().tolist()) for x in batch) for batch in (ours, theirs)]
    assert set(distinct[0]) == set(distinct[1]) and len(distinct[0]) == 18
    # 200 of each are expected with a standard deviation of 14.
    for counts in distinct:
        assert max(abs(n - count / 18) for n in counts.values()) < 5 * 14


def test_each_image_draws_its_own_offset():
    torch.manual_seed(0)
    same = images(1).expand(64, 3, 8, 8)
    assert len({tuple(x.flatten().tolist()) for x in PadCropFlip(padding=4)(same)}) > 40


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="mode='edge'"):
        PadCropFlip(mode='edge')


# -- scaling --------------------------------------------------------------------------------


@pytest.mark.parametrize('channels_last', [False, True])
def test_pixels_are_scaled_and_normalised_as_by_torchvision(channels_last):
    batch = dict(inputs=images(), labels=torch.arange(6))
    found = preprocessor(channels_last=channels_last)(batch)['inputs']
    expected = v2.Normalize(MEAN, STD)(images().float() / 255)
    assert_close(found, expected, rtol=1e-5, atol=2e-6)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert found.is_contiguous(memory_format=layout)


def test_augmentation_is_of_training_and_takes_its_layout_with_it():
    processor = preprocessor(augment=[dict(type='PadCropFlip', padding=2)])
    batch = dict(inputs=images(), labels=torch.arange(6))
    plain = preprocessor()(batch)['inputs']
    assert torch.equal(processor(batch, training=False)['inputs'], plain)
    torch.manual_seed(3)
    augmented = processor(batch, training=True)['inputs']
    torch.manual_seed(3)
    cropped = PadCropFlip(padding=2)(images())
    assert torch.equal(augmented, preprocessor()(dict(batch, inputs=cropped))['inputs'])
    assert augmented.is_contiguous()


@pytest.mark.parametrize('name', ['RandomHorizontalFlip', 'Cutout'])
def test_a_transform_that_draws_once_for_a_batch_is_refused(name):
    with pytest.raises(ValueError, match=f'augment holds {name}, which draws once .*pipeline'):
        preprocessor(augment=[dict(type='PadCropFlip'), dict(type=name)])


def test_labels_and_weights_pass_through():
    batch = dict(inputs=images(), labels=torch.arange(6), weights=torch.rand(6))
    found = preprocessor()(batch, training=True)
    assert torch.equal(found['labels'], batch['labels'])
    assert torch.equal(found['weights'], batch['weights'])
    assert set(batch) == {'inputs', 'labels', 'weights'} and batch['inputs'].dtype == torch.uint8


def test_images_that_are_floats_already_are_refused():
    with pytest.raises(TypeError, match='uint8 images, this batch holds torch.float32'):
        preprocessor()(dict(inputs=images().float(), labels=torch.arange(6)))


def test_one_number_a_channel_is_needed():
    grey = preprocessor(mean=[0.5], std=[0.25])
    with pytest.raises(ValueError, match='std are of 1 channels, and the images have 3'):
        grey(dict(inputs=images(), labels=torch.arange(6)))


@pytest.mark.parametrize('std', [[0.2, 0.2], [0.2, 0.0, 0.2]])
def test_a_standard_deviation_a_channel_is_needed(std):
    with pytest.raises(ValueError, match='positive std a channel'):
        preprocessor(std=std)


# -- mixing ---------------------------------------------------------------------------------


def numbered(count):
    """A batch whose images tell who they are: image i is constant i + 1, its label is i."""
    values = torch.arange(1, count + 1).view(count, 1, 1, 1)
    return dict(inputs=values.expand(count, 3, 8, 8).float(), labels=torch.arange(count))


def fixed_share(monkeypatch, mixer, share):
    stock = mixer.transform

    def transform(batch_size):
        made = stock(batch_size)
        made._dist = torch.distributions.Uniform(share, share + 1e-6)
        return made
    monkeypatch.setattr(mixer, 'transform', transform)


@pytest.mark.parametrize('count', [2, 7, 64])
def test_mixup_is_the_stated_share_of_the_stated_images(count):
    torch.manual_seed(count)
    batch = numbered(count)
    mixed = Mixup(alpha=1.0)(batch)
    first, second, share = mixed['labels']
    expected = share * batch['inputs'][first] + (1 - share) * batch['inputs'][second]
    assert_close(mixed['inputs'], expected)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(count))
    assert 0 < share < 1


def test_mixup_on_the_worked_example(monkeypatch):
    # x = [[1, 2], [3, 4]], share 0.3, partners swapped -> [[2.4, 3.4], [1.6, 2.6]]
    mixer = Mixup()
    fixed_share(monkeypatch, mixer, 0.3)
    batch = dict(inputs=torch.tensor([[1.0, 2], [3, 4]]).view(2, 1, 1, 2),
                 labels=torch.tensor([0, 2]))
    mixed = mixer(batch)
    order = mixed['labels'].first.argsort()
    found = mixed['inputs'].flatten(1)[order]
    assert_close(found, torch.tensor([[2.4, 3.4], [1.6, 2.6]]), rtol=0, atol=1e-5)
    assert mixed['labels'].second[order].tolist() == [2, 0]


def test_the_share_of_cutmix_is_the_area_that_is_kept():
    batch = numbered(9)
    for seed in range(20):
        torch.manual_seed(seed)
        mixed = CutMix(alpha=1.0)(batch)
        first, second, share = mixed['labels']
        own = mixed['inputs'] == batch['inputs'][first]
        other = mixed['inputs'] == batch['inputs'][second]
        assert bool((own | other).all())
        assert_close(own.float().mean(dim=(1, 2, 3)), share.expand(9))
        # What was replaced is one rectangle, the same in every image.
        gone = ~own[0, 0]
        box = gone.any(dim=1).sum() * gone.any(dim=0).sum()
        assert int(gone.sum()) == int(box)


def test_shares_of_mixup_follow_the_beta_distribution():
    torch.manual_seed(0)
    batch = dict(inputs=torch.zeros(2, 1, 1, 1), labels=torch.arange(2))
    for alpha in (0.2, 1.0):
        shares = torch.stack([Mixup(alpha=alpha)(batch)['labels'].share for _ in range(400)])
        # Beta(a, a) has mean 1/2 and variance 1 / (4 (2a + 1)).
        assert abs(shares.mean() - 0.5) < 0.08
        assert abs(shares.var() - 1 / (4 * (2 * alpha + 1))) < 0.03


def test_partners_are_random_also_in_a_batch_of_runs():
    torch.manual_seed(0)
    labels = torch.arange(16).repeat_interleave(4)     # as a class-aware sampler emits them
    batch = dict(inputs=torch.zeros(64, 1, 2, 2), labels=labels)
    first, second, _ = Mixup()(batch)['labels']
    # Neighbours in a run would be of one class in three of four pairs; 3 of 63 is chance.
    assert (first == second).float().mean() < 0.3


def test_a_batch_of_one_image_mixes_with_itself():
    for mixer in (Mixup(), CutMix()):
        mixed = mixer(numbered(1))
        assert_close(mixed['inputs'], torch.ones(1, 3, 8, 8))
        assert mixed['labels'].first.tolist() == mixed['labels'].second.tolist() == [0]


def test_mixing_is_of_training_only():
    processor = preprocessor(mixing=dict(type='Mixup', alpha=1.0))
    batch = dict(inputs=images(), labels=torch.arange(6))
    assert isinstance(processor(batch, training=True)['labels'], MixedLabels)
    tested = processor(batch, training=False)
    assert torch.equal(tested['labels'], batch['labels'])
    assert torch.equal(tested['inputs'], preprocessor()(batch)['inputs'])


def test_mixed_images_are_those_that_were_augmented_and_normalised():
    processor = preprocessor(mixing=dict(type='Mixup'))
    batch = dict(inputs=images(), labels=torch.arange(6))
    mixed = processor(batch, training=True)
    plain = preprocessor()(batch)['inputs']
    first, second, share = mixed['labels']
    assert_close(mixed['inputs'], share * plain[first] + (1 - share) * plain[second],
                 rtol=1e-5, atol=1e-5)


def test_sample_weights_and_mixing_exclude_each_other():
    with pytest.raises(ValueError, match='data_preprocessor.mixing=None'):
        Mixup()(dict(numbered(4), weights=torch.ones(4)))


def test_an_alpha_that_is_no_distribution_is_refused():
    for mixer in (Mixup, CutMix):
        with pytest.raises(ValueError, match=f'{mixer.__name__} got alpha=0'):
            mixer(alpha=0)


def test_grey_crops_lie_as_those_that_recorded_runs_were_made_with():
    # One channel fits both memory formats; a convolution goes by the strides, and rounds by them.
    images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    assert PadCropFlip(1)(images).stride() == (64, 1, 8, 1)
    assert PadCropFlip(1)(images.expand(4, 3, 8, 8)).stride() == (192, 64, 8, 1)


@pytest.mark.parametrize('channels_last', [False, True])
def test_views_are_augmented_one_by_one_and_stay_views(channels_last):
    processor = preprocessor(augment=[dict(type='PadCropFlip', padding=2)],
                             channels_last=channels_last)
    image = torch.randint(0, 256, (1, 1, 3, 8, 8), dtype=torch.uint8)
    batch = dict(inputs=image.expand(4, 3, 3, 8, 8), labels=torch.arange(4))
    plain = processor(dict(batch))['inputs']
    assert plain.shape == (4, 3, 3, 8, 8)
    assert_close(plain[2, 1], preprocessor()(dict(batch, inputs=image[0]))['inputs'][0])
    torch.manual_seed(0)
    views = processor(dict(batch), training=True)['inputs']
    torch.manual_seed(0)
    flat = processor(dict(batch, inputs=batch['inputs'].flatten(0, 1)), training=True)['inputs']
    assert torch.equal(views, flat.unflatten(0, (4, 3)))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert views.flatten(0, 1).is_contiguous(memory_format=layout)
