from .bbn import BilateralCIFARResNet, BilateralHead, BilateralPairs
from .ncl import IndependentExperts
from .ride import RIDECIFARResNet, RIDEResNet
from .shike import SHIKECIFARResNet

__all__ = ['BilateralCIFARResNet', 'BilateralHead', 'BilateralPairs', 'IndependentExperts',
           'RIDECIFARResNet', 'RIDEResNet', 'SHIKECIFARResNet']
