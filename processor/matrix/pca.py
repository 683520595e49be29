"""PCA: statistics of float32 rows -> components -> coordinates, stable from one refit to the next.

Pure numpy and scipy's `eigh`, independent of files, tables and Spark.

    statistics = Statistics.of(rows) + Statistics.of(more_rows)  # parts in any order
    pca = align(fit(statistics, 64), previous)
    coordinates = pca.project(rows)

Signs: `fit` makes the largest entry by magnitude of every component positive (the first one on
an exact tie), whatever LAPACK returned; in `align` the previous PCA's signs override that rule.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from processor.matrix.moments import BLOCK_ROWS, Array32, Array64, Statistics, checked
from processor.matrix.npz import pack, unpack

NOISE = float(np.finfo(np.float32).eps)  # × the largest variance: what a float32 Gram resolves
GAP = 25.0  # see `align`; after +1 % of 20,000 rows 25 and 15 kept all within 0.5 %, 5 within 0.9 %


@dataclass(frozen=True, eq=False)
class PCA:
    """A fitted PCA, k components of d. The learned fields mean what they mean in scikit-learn.

    mean_ (d,); components_ (k, d), orthonormal rows; explained_variance_ (k,), unbiased (n - 1)
    and non-increasing (after `align`: to within its gap); total_variance_ over all d columns; all
    float64. whiten: coordinates are divided by their standard deviation. about: what the PCA was
    fitted on, in the caller's words.
    """

    mean_: Array64
    components_: Array64
    explained_variance_: Array64
    total_variance_: float
    n_samples_: int
    whiten: bool = False
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def explained_variance_ratio_(self) -> Array64:
        """(k,) shares of the total variance; zeros if there is no variance at all."""
        return self.explained_variance_ / (self.total_variance_ or 1.0)

    @property
    def reconstruction_error(self) -> float:
        """The mean squared residual of a row (over n - 1): the sum of the dropped eigenvalues."""
        return max(0.0, self.total_variance_ - float(self.explained_variance_.sum()))

    def project(self, rows: Array32, block_rows: int = BLOCK_ROWS) -> Array32:
        """The float32 (n, k) coordinates of float32 (n, d) rows: n d k multiply-adds, memory of a block.

        Precision: the mean, rounded to float32, is subtracted from the rows (a difference exact to
        its last bit), and the rest of the mean from the product. Errors stay near 1e-7 of a row's
        distance from the mean; those of `rows @ V - mean @ V` are relative to the mean itself.
        When whitening, a component with no variance above the fit's noise gives 0, never infinity.
        Raises TypeError unless float32, ValueError for a wrong shape; a NaN stays in its row.
        """
        rows = checked(rows, len(self.mean_))
        shift = self.mean_.astype(np.float32)
        components = self.components_
        if self.whiten:
            variance = self.explained_variance_
            real = variance > NOISE * variance.max(initial=0.0)
            components = components * (real / np.sqrt(np.where(real, variance, 1.0)))[:, None]
        weights = components.T.astype(np.float32)
        out = np.empty((len(rows), len(components)), dtype=np.float32)
        for start in range(0, len(rows), block_rows):
            part = slice(start, start + block_rows)
            np.matmul(rows[part] - shift, weights, out=out[part])
        out -= (components @ (self.mean_ - shift)).astype(np.float32)
        return out

    def residual(self, rows: Array32, coordinates: Array32) -> float:
        """The sum of the squared distances of float32 (n, d) rows from the components' span.

        This is what the components do not explain, given the rows' `coordinates` from `project`; for
        the fitted rows it is n - 1 times `reconstruction_error`. Accurate to about 1e-6 of the rows'
        squared distances from the mean. Raises like `project`.
        """
        centred = (checked(rows, len(self.mean_)) - self.mean_.astype(np.float32)).ravel()
        inside = np.square(coordinates, dtype=np.float64).sum(axis=0)
        if self.whiten:
            inside = inside * self.explained_variance_
        return max(0.0, float(np.dot(centred, centred)) - float(inside.sum()))

    def leading(self, k: int) -> PCA:
        """The PCA cut to its first k components, or to all if it has fewer."""
        components, variances = self.components_[:k], self.explained_variance_[:k]
        return replace(self, components_=components, explained_variance_=variances)

    def captured(self, statistics: Statistics, best: PCA | None = None) -> float:
        """The variance that these k components capture, as a share of the most that k could, 0 to 1.

        trace(V C V') / sum of the k largest eigenvalues of C, the covariance in `statistics`:
        near 1, a refit would gain nothing. Costs a `fit` and raises like it, unless `best` is one, of
        the statistics with k components. 1.0 if the rows have no variance.
        """
        best = best or fit(statistics, len(self.components_))
        most = float(best.explained_variance_.sum())
        scatter = float(np.sum((self.components_ @ statistics.scatter) * self.components_))
        return min(1.0, scatter / max(statistics.count - 1, 1) / most) if most > 0 else 1.0

    def to_bytes(self) -> bytes:
        """An npz without pickles, 8 k d bytes: the fields by name, `about` as JSON."""
        about = json.dumps(dict(self.about), sort_keys=True)
        return pack("pca/1", **{**vars(self), "about": about})

    @classmethod
    def from_bytes(cls, data: bytes) -> PCA:
        """The inverse of `to_bytes`, bit for bit. Raises ValueError for any other bytes."""
        part = unpack("pca/1", data, cls.__dataclass_fields__)
        return cls(**{**part, "about": json.loads(part["about"])})


def fit(
    statistics: Statistics,
    components: int | float,
    *,
    whiten: bool = False,
    about: Mapping[str, str] | None = None,
) -> PCA:
    """The PCA of the rows behind `statistics`, in float64: O(d³) time, about 16 d² bytes.

    components: an int, how many are wanted; at most min(n - 1, d) are returned, but at least one.
    Or a float in (0, 1), the share of variance that as few components as possible must reach.
    Eigenvalues rounded below 0 become 0; all are 0 for one row or identical rows.
    Raises ValueError for no rows at all and for any other `components`.
    """
    n, d = statistics.count, len(statistics.mean)
    share = isinstance(components, float)
    if isinstance(components, bool) or not (0 < components < 1 if share else components >= 1):
        raise ValueError(f"components must be an int from 1 or a float in (0, 1): {components!r}")
    if n == 0:
        raise ValueError("cannot fit a PCA to no rows: the statistics are empty")
    most = min(max(n - 1, 1), d)
    k = most if share else min(int(components), most)
    from scipy.linalg import eigh  # only here: tasks that only project start sooner without it

    covariance = statistics.scatter.T / max(n - 1, 1)  # .T: column order lets eigh overwrite it
    total = float(covariance.trace())
    values, vectors = eigh(covariance, subset_by_index=[d - k, d - 1], overwrite_a=True)
    values = np.maximum(values[::-1], 0.0)
    if share:
        k = min(most, 1 + int(np.searchsorted(np.cumsum(values), components * total)))
    signed = _signed(np.ascontiguousarray(vectors.T[::-1][:k]))
    return PCA(statistics.mean, signed, values[:k], total, n, whiten, dict(about or {}))


def align(new: PCA, previous: PCA, gap: float | None = None) -> PCA:
    """`new` with its components aligned to those of `previous`, so that old coordinates hardly move.

    Adjacent components form a group while their variances differ by at most `gap`, relatively. By
    default that is GAP standard errors, sqrt(2 / n), of an eigenvalue and at most 0.5: components
    closer than a few of these mix differently in every sample (North et al., Sampling errors in the
    estimation of empirical orthogonal functions, 1982). One orthogonal Procrustes rotation (Schönemann,
    A generalized solution of the orthogonal Procrustes problem, 1966) aligns each group to the
    previous components of the same numbers; a single component takes the previous sign. If an aligned
    group is no longer principal to within `gap` (a variance off its eigenvalue, or a correlation), the
    data have changed, and the group is split at its widest step instead.

    So the span, the total and the order of the groups are those of `new`, and explained_variance_
    is the variance along the aligned components, non-increasing to within `gap`. Components with
    higher numbers than `previous` has fill up their group's span; so spare components, as in
    `align(fit(s, k + spare), previous).leading(k)`, keep near-equal ones at the cut in place.
    With another d, `new` is returned as it is. O(k² d + k³) per round of splits.
    """
    if len(new.mean_) != len(previous.mean_):
        return new
    if gap is None:
        gap = min(0.5, GAP * math.sqrt(2 / new.n_samples_))
    values, components = new.explained_variance_.copy(), new.components_.copy()
    floored = np.maximum(values, NOISE * values.max(initial=0.0))
    steps = -np.diff(floored) / np.where(floored[:-1] > 0, floored[:-1], 1.0)
    groups = [(0, len(values))]
    while groups:
        i, j = groups.pop()
        target, inner = previous.components_[i:j], steps[i : j - 1]
        if not len(target):
            continue
        split = inner.max(initial=0.0) > gap
        if not split:
            rotation = _procrustes(components[i:j], values[i:j], target)
            covariance = (rotation * values[i:j]) @ rotation.T
            off = np.abs(covariance - np.diag(values[i:j]))
            bound = gap * np.sqrt(np.outer(floored[i:j], floored[i:j]))
            split = len(inner) > 0 and bool(np.any(off > bound))
        if split:
            middle = i + 1 + int(inner.argmax())
            groups += [(i, middle), (middle, j)]
            continue
        components[i:j] = rotation @ components[i:j]
        components[i + len(target) : j] = _signed(components[i + len(target) : j])
        values[i:j] = covariance.diagonal()
    return replace(new, components_=components, explained_variance_=values)


@dataclass(frozen=True)
class Drift:
    """How far a new PCA is from the previous one; every figure is 0 for equal ones.

    angle: the largest principal angle between the spans, in radians (of the smaller span against
    the larger if they differ in size); signs and rotations within the span do not count.
    movement: the expected RMS change of an old row's coordinates on the components that both have, by
    number, over the RMS norm of those; unwhitened. mean_shift: the distance between the means over
    the RMS distance of a row from its mean.
    """

    angle: float
    movement: float
    mean_shift: float


def drift(new: PCA, previous: PCA) -> Drift:
    """Compare two PCAs of the same columns, without the rows. Raises ValueError for other columns.

    `movement` takes the rows' covariance from `new`, with the dropped variance spread evenly over the
    dropped components (Tipping & Bishop, Probabilistic principal component analysis, 1999): too low by
    up to a third if that variance decays and the span has rotated, within 20 % for similar rows.
    O(k² d).
    """
    if len(new.mean_) != len(previous.mean_):
        raise ValueError(f"PCAs of {len(new.mean_)} and {len(previous.mean_)} columns")
    small, large = sorted((new.components_, previous.components_), key=len)
    outside = small - (small @ large.T) @ large  # its norm is the sine: exact for small angles
    angle = math.asin(min(1.0, float(np.linalg.norm(outside, 2))))

    k = len(small)
    change = previous.components_[:k] - new.components_[:k]
    shift = new.mean_ - previous.mean_
    noise = new.reconstruction_error / max(1, len(shift) - len(new.components_))
    inside = (change @ new.components_.T) ** 2 @ (new.explained_variance_ - noise)
    moved = (
        inside.sum() + noise * np.sum(change**2) + np.sum((previous.components_[:k] @ shift) ** 2)
    )
    norm = math.sqrt(new.explained_variance_[:k].sum()) or 1.0
    return Drift(
        angle=angle,
        movement=math.sqrt(max(0.0, float(moved))) / norm,
        mean_shift=float(np.linalg.norm(shift)) / (math.sqrt(new.total_variance_) or 1.0),
    )


def _procrustes(components: Array64, values: Array64, target: Array64) -> Array64:
    """The orthogonal (g, g) rotation that brings the first p rows of `rotation @ components` closest
    to the p <= g rows of `target`, and the others to the principal ones of the rest of the span."""
    p = len(target)
    left, _, rotation = np.linalg.svd(target @ components.T)
    rotation[:p] = left @ rotation[:p]
    if p < len(components):
        rest = (rotation[p:] * values) @ rotation[p:].T
        rotation[p:] = np.linalg.eigh(rest)[1].T[::-1] @ rotation[p:]
    return rotation


def _signed(components: Array64) -> Array64:
    """The rows of `components`, each with its largest entry by magnitude made positive."""
    peaks = components[np.arange(len(components)), np.abs(components).argmax(axis=1)]
    return components * np.where(peaks < 0, -1.0, 1.0)[:, None]
