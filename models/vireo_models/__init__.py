"""Vireo's model side: data sets, simulator, features, training, evaluation and export of bundles.

Use it from the command line: ``python -m vireo_models train --data simulate --out DIR``.
"""

__version__ = "0.1.0"
