from ltcls.evaluation.open_set import OpenSetAccuracy
from ltcls.evaluation.shot_accuracy import ShotAccuracy

__all__ = ['OpenSetAccuracy', 'ShotAccuracy']
