from .cc_sam import CCSAM
from .gnm import GNM
from .gradient_norm import GradientNormPenalty
from .imbsam import ImbSAM
from .model_perturbation import ModelPerturbation
from .objective import Objective
from .perturbed import PerturbedOptimWrapper
from .sam import SAM, RwSAM

__all__ = ['CCSAM', 'GNM', 'GradientNormPenalty', 'ImbSAM', 'ModelPerturbation', 'Objective',
           'PerturbedOptimWrapper', 'RwSAM', 'SAM']
