from .bbn import BilateralCIFARResNet, BilateralHead, BilateralPairs

__all__ = ['BilateralCIFARResNet', 'BilateralHead', 'BilateralPairs']
