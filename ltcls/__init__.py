"""Long-tailed image classification on mmengine."""

__version__ = '0.1.0'

from ltcls import compat  # noqa: E402, F401  (mends mmengine before anything uses it)
