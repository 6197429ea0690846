from .bcl import BCLClassifier
from .paco import GPaCoClassifier
from .views import ContrastiveClassifier

__all__ = ['BCLClassifier', 'ContrastiveClassifier', 'GPaCoClassifier']
