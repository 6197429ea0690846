import threading

import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator
from pytest import approx
from sklearn.metrics import top_k_accuracy_score

from ltcls.evaluation import ShotAccuracy, shot_accuracy
from ltcls.evaluation.table import scores_table
from ltcls.longtail import exponential_counts
from ltcls.registry import METRICS

COUNTS = exponential_counts(500, 10, 100)       # 500 .. 5
META = dict(classes=[f'class {c}' for c in range(10)], train_class_counts=COUNTS)


def predictions(images, num_classes=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(num_classes, (images,), generator=generator)
    logits = torch.randn(images, num_classes, generator=generator)
    logits[range(images), labels] += 1
    return logits.softmax(1), labels


def metric(meta=META, **options):
    made = ShotAccuracy(**options)
    made.dataset_meta = meta
    return made


def feed(made, scores, labels, batch_size=7):
    for batch in zip(scores.split(batch_size), labels.split(batch_size)):
        made.process(None, [dict(scores=batch[0], labels=batch[1])])


class Ranks:
    """Collectives among threads: each rank waits until all have handed in their tensor."""

    def __init__(self, world_size, monkeypatch):
        self.world_size = world_size
        self.barrier = threading.Barrier(world_size)
        self.here = threading.local()
        self.tensors = [None] * world_size
        monkeypatch.setattr(shot_accuracy, 'get_world_size', lambda: world_size)
        monkeypatch.setattr(shot_accuracy, 'all_gather', self.all_gather)

    def all_gather(self, tensor):
        self.tensors[self.here.rank] = tensor
        self.barrier.wait(timeout=20)
        gathered = list(self.tensors)
        self.barrier.wait(timeout=20)
        return gathered

    def run(self, work):
        """`work(rank)` on every rank; their results, or their errors."""
        results = [None] * self.world_size

        def start(rank):
            self.here.rank = rank
            try:
                results[rank] = work(rank)
            except Exception as error:
                results[rank] = error

        threads = [threading.Thread(target=start, args=(r,)) for r in range(self.world_size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results


def test_metrics_are_percentages_under_their_plain_names():
    made = metric()
    scores, labels = predictions(300)
    feed(made, scores, labels)
    found = made.evaluate(300)
    right = scores.argmax(1) == labels
    by_class = torch.stack([100 * right[labels == c].double().mean() for c in range(10)])
    assert COUNTS[3] == 107 and COUNTS[7] == 13      # 4 many, 3 medium, 3 few
    assert found == dict(
        accuracy=approx(100 * float(right.double().mean())),
        top5=approx(100 * top_k_accuracy_score(labels, scores, k=5)),
        many=approx(float(by_class[:4].mean())),
        medium=approx(float(by_class[4:7].mean())),
        few=approx(float(by_class[7:].mean())),
        balanced_accuracy=approx(float(by_class.mean())),
        ece=made.record['calibration']['overall']['ece'])
    assert all(type(value) is float for value in found.values())


@pytest.mark.parametrize('world_size', [2, 3])
def test_every_image_counts_once_under_several_ranks(world_size, monkeypatch):
    size = 101                                       # divides by neither
    scores, labels = predictions(size)
    alone = metric()
    feed(alone, scores, labels)
    expected = alone.evaluate(size)

    ranks = Ranks(world_size, monkeypatch)
    metrics = [metric() for _ in range(world_size)]

    def work(rank):
        # mmengine's own sampler deals the images out and pads the last round with the first ones
        sampler = DefaultSampler(range(size), shuffle=False)
        sampler.rank, sampler.world_size = rank, world_size
        sampler.num_samples = -(-size // world_size)
        sampler.total_size = sampler.num_samples * world_size
        mine = torch.tensor(list(sampler))
        feed(metrics[rank], scores[mine], labels[mine], batch_size=5)
        return metrics[rank].evaluate(size)

    assert ranks.run(work) == [expected] * world_size
    assert all(made.record == alone.record for made in metrics)


def test_gathered_images_stand_in_the_order_of_the_data_set(monkeypatch):
    ranks = Ranks(3, monkeypatch)
    shares = [torch.tensor([0, 3, 6]), torch.tensor([1, 4, 0]), torch.tensor([2, 5, 1])]
    for whole in ranks.run(lambda rank: shot_accuracy._whole(shares[rank], 7).tolist()):
        assert whole == [0, 1, 2, 3, 4, 5, 6]


def test_unequal_shares_are_an_error_on_every_rank(monkeypatch):
    ranks = Ranks(2, monkeypatch)
    for error in ranks.run(lambda rank: shot_accuracy._whole(torch.zeros(3 - rank), 5)):
        assert isinstance(error, RuntimeError) and '[3, 2] images' in str(error)


def test_top5_of_five_classes_says_nothing_and_is_absent():
    scores, labels = predictions(50, num_classes=5)
    made = metric(dict(classes=list('abcde'), train_class_counts=[9] * 5))
    feed(made, scores, labels)
    assert 'top5' not in made.evaluate(50)
    made = metric(dict(classes=list('abcde'), train_class_counts=[9] * 5), topk=2)
    feed(made, scores, labels)
    assert made.evaluate(50)['top2'] == approx(100 * top_k_accuracy_score(labels, scores, k=2))


def test_several_ks_are_counted_at_once():
    scores, labels = predictions(50)
    made = metric(topk=[3, 5])
    feed(made, scores, labels)
    found = made.evaluate(50)
    expected = {k: 100 * top_k_accuracy_score(labels, scores, k=k) for k in (3, 5)}
    assert (found['top3'], found['top5']) == (approx(expected[3]), approx(expected[5]))
    assert made.record['overall']['topk'] == [dict(k=k, accuracy=found[f'top{k}']) for k in (3, 5)]
    table = scores_table(made.record)
    assert all(f'top-{k}' in table and f"{found[f'top{k}']:.2f}" in table for k in (3, 5))


def test_bins_and_rule_reach_the_scores():
    made = metric(dict(classes=list('abc'), train_class_counts=[500, 50, 15]), rule=(40, 10),
                  bins=7)
    feed(made, torch.eye(3).clamp(min=0.01), torch.arange(3))
    assert 'few' not in made.evaluate(3)
    calibration = made.record['calibration']
    assert calibration['bins'] == len(calibration['overall']['bins']) == 7


def test_constant_scores_are_right_for_one_class_and_never_below_top1():
    labels = torch.arange(10).repeat(3)
    made = metric()
    feed(made, torch.full((30, 10), 0.1), labels)
    found = made.evaluate(30)
    assert found['accuracy'] == 10
    assert found['accuracy'] <= found['top5'] <= 60


def test_processing_keeps_four_small_tensors_on_the_device_of_the_scores():
    # the meta device has no values: whatever asked for one would fail
    made = metric()
    made.process(None, [dict(scores=torch.empty(8, 10, device='meta'),
                             labels=torch.empty(8, device='meta', dtype=torch.int64))])
    kept = made.results[0]
    assert {name: (value.device.type, tuple(value.shape)) for name, value in kept.items()} == dict(
        labels=('meta', (8,)), predictions=('meta', (8,)), confidences=('meta', (8,)),
        top5=('meta', (8,)))


def test_a_second_evaluation_starts_afresh():
    made = metric()
    scores, labels = predictions(40)
    feed(made, scores, labels)
    first = made.evaluate(40)
    feed(made, scores, (labels + 1) % 10)
    assert made.evaluate(40)['accuracy'] < first['accuracy']
    assert made.record['overall']['images'] == 40


def test_missing_counts_name_the_hook_that_brings_them():
    made = metric(dict(classes=META['classes']))
    feed(made, *predictions(5))
    with pytest.raises(RuntimeError, match='no training class counts: keep LongTailHook'):
        made.evaluate(5)


def test_dropped_images_are_an_error():
    made = metric()
    feed(made, *predictions(35))
    with pytest.raises(RuntimeError, match='Only 35 of 40 test images'):
        made.evaluate(40)
    with pytest.raises(RuntimeError, match='test loader is empty'):
        made.evaluate(40)


def test_a_config_builds_it_inside_mmengines_evaluator():
    evaluator = Evaluator(METRICS.build(dict(type='ShotAccuracy', rule='thirds', prefix='test')))
    evaluator.dataset_meta = META
    scores, labels = predictions(30)
    evaluator.process([dict(scores=scores, labels=labels)])
    found = evaluator.evaluate(30)
    right = (scores.argmax(1) == labels).double()
    assert found['test/accuracy'] == approx(100 * float(right.mean()))
    assert evaluator.metrics[0].record['group_rule']['name'] == 'thirds'
