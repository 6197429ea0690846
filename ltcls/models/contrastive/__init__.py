from .bcl import BCLClassifier

__all__ = ['BCLClassifier']
