"""Rows whose covariance has a known spectrum."""

import numpy as np

geometric = 0.7 ** np.arange(16)


def basis(d, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0]


def sample(n, spectrum, seed=0, mean=0.0):
    """float32 rows with the given population variances along the rows of `basis`."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, len(spectrum))) * np.sqrt(spectrum) @ basis(len(spectrum))
    return (rows + mean).astype(np.float32)
