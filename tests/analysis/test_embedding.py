import numpy as np
import pytest
import torch
from pytest import approx
from sklearn.decomposition import PCA
from torch.testing import assert_close

from ltcls.analysis.cam import ActivationMaps, activation_maps, plot_activation_maps
from ltcls.analysis.embedding import class_distances, features_table, pca, row_norms, tsne
from ltcls.analysis.embedding_plots import plot_distances, tail_classes
from ltcls.registry import MODELS


def classifier(head='LinearHead', num_classes=4, **options):
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='Classifier', backbone=dict(type='CIFARResNet', depth=8),
        head=dict(type=head, **options), loss=dict(type='CrossEntropyLoss'),
        data_preprocessor=dict(type='BatchPreprocessor', num_classes=num_classes,
                               mean=[0.5] * 3, std=[0.5] * 3)))
    return model.eval()


def test_the_first_axes_are_those_of_scikit_learn():
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)).double()
    features = features * torch.tensor([5, 3, 1, 1, 1, 0.5])
    places, shares = pca(features)
    expected = PCA(2).fit(features.numpy())
    assert shares == approx(expected.explained_variance_ratio_.tolist())
    theirs = expected.transform(features.numpy())
    assert np.allclose(np.abs(places.numpy()), np.abs(theirs))
    again, _ = pca(-(-features))
    assert_close(again, places)


def test_distances_of_a_worked_out_case():
    # class 0 at (0, 0) and (2, 0); class 1 at (1, 3); class 3 at (1, 7) and (1, 9); no class 2
    features = torch.tensor([[0, 0], [2, 0], [1, 3], [1, 7], [1, 9]], dtype=torch.float64)
    found = class_distances(features, torch.tensor([0, 0, 1, 3, 3]), 4)
    assert found['within'].tolist() == approx([1, 0, np.nan, 1], nan_ok=True)
    assert found['between'].tolist() == approx([(3 + 8) / 2, (3 + 5) / 2, np.nan, (8 + 5) / 2],
                                               nan_ok=True)
    assert found['nearest'].tolist() == approx([3, 3, np.nan, 5], nan_ok=True)
    assert found['nearest_class'].tolist() == [1, 0, -1, 1]


def test_distances_stay_when_the_features_are_turned_and_shifted():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(30, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (30,), generator=generator)
    turn, _ = torch.linalg.qr(torch.randn(5, 5, generator=generator, dtype=torch.float64))
    one, other = (class_distances(f, labels, 3) for f in (features, features @ turn + 4))
    for key in ('within', 'between', 'nearest'):
        assert_close(one[key], other[key])


def test_rows_are_measured_where_there_are_rows():
    model = classifier()
    with torch.no_grad():
        model.head.weight.zero_()[:, :2] = torch.tensor([3.0, 4.0])
    assert row_norms(model).tolist() == [5, 5, 5, 5]
    assert row_norms(classifier('NCMHead')) is None


@pytest.mark.parametrize(('head', 'options'), [
    ('LinearHead', {}), ('CosineHead', dict(scale=7)), ('LWSHead', {}), ('CosineLWSHead', {})])
def test_the_maps_of_an_image_average_to_its_logits(head, options):
    model = classifier(head, **options)
    if hasattr(model.head, 'scales'):
        with torch.no_grad():
            model.head.scales.copy_(torch.tensor([0.5, 1, 2, 3]))
    inputs = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    found = activation_maps(model, inputs)
    assert found.maps.shape == (4, 4, 4)
    bias = getattr(model.head, 'bias', None)
    added = 0 if bias is None else getattr(model.head, 'scales', 1) * bias
    assert_close(found.maps.mean(dim=(1, 2)) + added, model(inputs)[0].detach(), rtol=1e-4,
                 atol=1e-4)


@pytest.mark.parametrize('head', ['TauNormHead', 'LogitAdjustedHead'])
def test_the_answer_beside_the_maps_is_that_of_the_model(head):
    model = classifier(head)
    model.bind([900, 90, 9, 2])
    with torch.no_grad():
        model.head.weight.mul_(torch.tensor([[4.0], [2], [1], [0.1]]))
    inputs = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    assert_close(activation_maps(model, inputs).logits, model(inputs)[0].detach())


def test_a_head_without_rows_and_features_without_places_have_no_maps():
    inputs = torch.randn(1, 3, 16, 16)
    with pytest.raises(ValueError, match='NCMHead has no row'):
        activation_maps(classifier('NCMHead'), inputs)
    model = classifier()
    forward = model.backbone.forward
    model.backbone.forward = lambda x: forward(x).square()
    with pytest.raises(ValueError, match='not the spatial mean'):
        activation_maps(model, inputs)


def test_the_tail_is_the_few_shot_classes_or_the_two_rarest():
    rows = [dict(index=i, group=g, train_count=n) for i, (g, n) in enumerate(
        [('many', 500), ('few', 5), ('medium', 50), ('few', 7)])]
    assert tail_classes(rows) == [1, 3]
    for row in rows:
        row['group'] = 'many'
    assert tail_classes(rows) == [1, 3]


def test_tsne_of_a_handful_of_images_takes_fewer_neighbours():
    features = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert tsne(features).shape == (5, 2)


def test_the_table_shows_how_far_classes_are_apart_for_their_width():
    numbers = dict(row_norm=None, shift=0.5, test=dict(within=0.25, nearest=1.0, length=3.0))
    line = features_table([dict(groups=dict(few=numbers))], ['ce']).splitlines()[3]
    assert [cell.strip() for cell in line.strip('|').split('|')] == [
        'ce', 'few', '0.250', '1.000', '4.000', '0.500', '-', '3.000']


def test_distances_are_drawn_of_both_splits_most_images_first():
    def row(index, count, **numbers):
        return dict(index=index, name=str(index), group='few', train_count=count, row_norm=None,
                    **{split: dict(between=9.0, **{key: value + shift for key, value
                                                   in numbers.items()})
                       for split, shift in (('train', 0.0), ('test', 0.5))})
    found = dict(name='ce', classes=[row(0, 5, nearest=1.0, within=2.0),
                                     row(1, 50, nearest=3.0, within=4.0)])
    upper, lower = plot_distances(found).axes
    assert [line.get_ydata().tolist() for line in upper.lines] == [
        [3.0, 1.0], [4.0, 2.0], [3.5, 1.5], [4.5, 2.5]]
    assert 'no row' in lower.texts[0].get_text()


def test_the_answer_on_a_picture_of_maps_is_the_likeliest_class():
    found = ActivationMaps(torch.zeros(2, 1, 1), torch.tensor([0.0, 3.0]).log1p())
    pixels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    axes = plot_activation_maps([('0', pixels, 0, found)], ['a', 'b'], 'ce').axes
    assert [one.get_title(loc='left') for one in axes] == [
        'image 0', 'true class: a, 20%', 'answer: b, 80%']
