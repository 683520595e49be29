"""PCA: statistics of float32 rows -> axes -> coordinates, steady from one refit to the next.

Pure numpy and scipy's `eigh`; nothing here knows of files, tables or Spark.

    statistics = Statistics.of(rows) + Statistics.of(more_rows)  # parts in any order
    model = align(fit(statistics, 64), previous)
    coordinates = model.project(rows)

Signs: `fit` makes the largest entry by magnitude of every component positive (the first one on
an exact tie), whatever LAPACK returned; `align` puts the previous model's signs above that rule.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from processor.matrix.moments import BLOCK_ROWS, Array32, Array64, Statistics, checked
from processor.matrix.npz import pack, unpack

NOISE = float(np.finfo(np.float32).eps)  # a float32 Gram knows no variance below this × the largest
GAP = 25.0  # see `align`; after +1 % of 20,000 rows 25 and 15 kept all within 0.5 %, 5 within 0.9 %


@dataclass(frozen=True, eq=False)
class PCA:
    """A fitted model, k of d axes. The learned fields mean what they mean in scikit-learn.

    mean_ (d,); components_ (k, d), orthonormal rows; explained_variance_ (k,), unbiased (n - 1)
    and non-increasing (after `align`: to within its gap); total_variance_ over all d axes; all
    float64. whiten: coordinates are divided by their standard deviation. about: what the model
    was fitted on, in the caller's words.
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
        """(k,) shares of the total variance; zeros where there is no variance at all."""
        return self.explained_variance_ / (self.total_variance_ or 1.0)

    @property
    def reconstruction_error(self) -> float:
        """The mean squared residual of a row (over n - 1): the sum of the dropped eigenvalues."""
        return max(0.0, self.total_variance_ - float(self.explained_variance_.sum()))

    def project(self, rows: Array32, block_rows: int = BLOCK_ROWS) -> Array32:
        """float32 (n, d) rows -> (n, k): n d k multiply-adds, one block of extra memory.

        Precision: the float32 mean is taken off the rows first (a difference right to its last
        bit), what the mean lost by rounding off the product. Errors stay near 1e-7 of a row's
        distance from the mean; `rows @ V - mean @ V` has them relative to the mean itself.
        A whitened axis with no variance above the noise of the fit gives 0, never infinity.
        TypeError unless float32, ValueError for a wrong shape; a NaN stays in its row.
        """
        rows = checked(rows, len(self.mean_))
        shift = self.mean_.astype(np.float32)
        axes = self.components_
        if self.whiten:
            variance = self.explained_variance_
            real = variance > NOISE * variance.max(initial=0.0)
            axes = axes * (real / np.sqrt(np.where(real, variance, 1.0)))[:, None]
        weights = axes.T.astype(np.float32)
        out = np.empty((len(rows), len(axes)), dtype=np.float32)
        for start in range(0, len(rows), block_rows):
            part = slice(start, start + block_rows)
            np.matmul(rows[part] - shift, weights, out=out[part])
        out -= (axes @ (self.mean_ - shift)).astype(np.float32)
        return out

    def residual(self, rows: Array32, coordinates: Array32) -> float:
        """The squared distances of float32 (n, d) rows from the span, summed up; errors as `project`'s.

        What the axes do not tell of the rows, given the coordinates that `project` made of them:
        over the fitted rows n - 1 times `reconstruction_error`. Precise to some 1e-6 of the rows'
        squared distances from the mean.
        """
        centred = (checked(rows, len(self.mean_)) - self.mean_.astype(np.float32)).ravel()
        inside = np.square(coordinates, dtype=np.float64).sum(axis=0)
        if self.whiten:
            inside = inside * self.explained_variance_
        return max(0.0, float(np.dot(centred, centred)) - float(inside.sum()))

    def leading(self, k: int) -> PCA:
        """The model cut to its first k axes, or all of them when it has fewer."""
        axes, variances = self.components_[:k], self.explained_variance_[:k]
        return replace(self, components_=axes, explained_variance_=variances)

    def captured(self, statistics: Statistics) -> float:
        """The variance on these k axes as a share of the most that k axes could hold, 0 to 1.

        trace(V C V') / sum of the k largest eigenvalues of C, the covariance in `statistics`:
        near 1, a refit would gain nothing. Costs a `fit` and fails as it does. 1.0 when the rows
        have no variance.
        """
        best = float(fit(statistics, len(self.components_)).explained_variance_.sum())
        scatter = float(np.sum((self.components_ @ statistics.scatter) * self.components_))
        return min(1.0, scatter / max(statistics.count - 1, 1) / best) if best > 0 else 1.0

    def to_bytes(self) -> bytes:
        """An npz without pickles, 8 k d bytes: the fields by name, `about` as JSON."""
        about = json.dumps(dict(self.about), sort_keys=True)
        return pack("pca/1", **{**vars(self), "about": about})

    @classmethod
    def from_bytes(cls, data: bytes) -> PCA:
        """The inverse of `to_bytes`, bit for bit. ValueError for any other bytes."""
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

    components: an int, the axes wanted, of which at most min(n - 1, d) (never 0) are returned;
    or a float, the share of variance in (0, 1) that the fewest axes shall reach. Eigenvalues
    rounded below 0 become 0; all are 0 for one row or identical rows.
    ValueError for no rows at all and for any other `components`.
    """
    n, d = statistics.count, len(statistics.mean)
    share = isinstance(components, float)
    if isinstance(components, bool) or not (0 < components < 1 if share else components >= 1):
        raise ValueError(f"components must be an int from 1 or a float in (0, 1): {components!r}")
    if n == 0:
        raise ValueError("cannot fit a PCA to no rows: the statistics are empty")
    most = min(max(n - 1, 1), d)
    k = most if share else min(int(components), most)
    from scipy.linalg import eigh  # not at the top: tasks that only project start sooner

    covariance = statistics.scatter.T / max(n - 1, 1)  # .T: column order lets eigh overwrite it
    total = float(covariance.trace())
    values, vectors = eigh(covariance, subset_by_index=[d - k, d - 1], overwrite_a=True)
    values = np.maximum(values[::-1], 0.0)
    if share:
        k = min(most, 1 + int(np.searchsorted(np.cumsum(values), components * total)))
    axes = _signed(np.ascontiguousarray(vectors.T[::-1][:k]))
    return PCA(statistics.mean, axes, values[:k], total, n, whiten, dict(about or {}))


def align(new: PCA, previous: PCA, gap: float | None = None) -> PCA:
    """`new` with its axes turned towards those of `previous`, so that old coordinates stay put.

    Neighbouring axes form a group while their variances differ by at most `gap`, relatively. By
    default that is GAP standard errors, sqrt(2 / n), of an eigenvalue and at most 0.5: axes
    closer than a few of these are mixed anew by every sample (North et al., Sampling errors in
    the estimation of empirical orthogonal functions, 1982). One orthogonal Procrustes rotation
    turns each group onto the previous axes of the same numbers; a single axis takes the previous
    sign. Where a turned group is no longer principal to within `gap` (a variance off its
    eigenvalue, or a correlation), the data have changed: it is split at its widest step instead.

    Hence the span, the total and the order of the groups are those of `new`, and
    explained_variance_ is the variance along the turned axes, non-increasing to within `gap`.
    Axes numbered beyond the previous model's fill up their group's span; so spare axes, as in
    `align(fit(s, k + spare), previous).leading(k)`, keep near-equal axes at the cut still.
    With another d, `new` comes back as it is. O(k² d + k³) per round of splits.
    """
    if len(new.mean_) != len(previous.mean_):
        return new
    if gap is None:
        gap = min(0.5, GAP * math.sqrt(2 / new.n_samples_))
    values, axes = new.explained_variance_.copy(), new.components_.copy()
    known = np.maximum(values, NOISE * values.max(initial=0.0))
    steps = -np.diff(known) / np.where(known[:-1] > 0, known[:-1], 1.0)
    groups = [(0, len(values))]
    while groups:
        i, j = groups.pop()
        target, inner = previous.components_[i:j], steps[i : j - 1]
        if not len(target):
            continue
        split = inner.max(initial=0.0) > gap
        if not split:
            turn = _procrustes(axes[i:j], values[i:j], target)
            covariance = (turn * values[i:j]) @ turn.T
            off = np.abs(covariance - np.diag(values[i:j]))
            bound = gap * np.sqrt(np.outer(known[i:j], known[i:j]))
            split = len(inner) > 0 and bool(np.any(off > bound))
        if split:
            middle = i + 1 + int(inner.argmax())
            groups += [(i, middle), (middle, j)]
            continue
        axes[i:j] = turn @ axes[i:j]
        axes[i + len(target) : j] = _signed(axes[i + len(target) : j])
        values[i:j] = covariance.diagonal()
    return replace(new, components_=axes, explained_variance_=values)


@dataclass(frozen=True)
class Drift:
    """How far a new model lies from the previous one; every figure is 0 for equal models.

    angle: the largest principal angle between the spans, in radians (of the smaller span against
    the larger when they differ in size); signs and rotations inside the span do not count.
    movement: the expected RMS change of an old row's coordinates on the axes both models have, by
    number, over the RMS norm of those; unwhitened. mean_shift: the means' distance over the RMS
    distance of a row from its mean.
    """

    angle: float
    movement: float
    mean_shift: float


def drift(new: PCA, previous: PCA) -> Drift:
    """Compare two models of the same columns, without the rows; ValueError for other columns.

    `movement` takes the rows' covariance from `new`, the dropped variance as even over its axes
    (Tipping & Bishop, Probabilistic principal component analysis, 1999): too low by up to a third
    where that decays and the span has turned, within 20 % for like rows. O(k² d).
    """
    if len(new.mean_) != len(previous.mean_):
        raise ValueError(f"models of {len(new.mean_)} and {len(previous.mean_)} columns")
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


def _procrustes(axes: Array64, values: Array64, target: Array64) -> Array64:
    """The orthogonal (g, g) turn that brings the first p rows of `turn @ axes` nearest to the
    p <= g rows of `target`, and the others to the principal axes of what is left of the span."""
    p = len(target)
    left, _, turn = np.linalg.svd(target @ axes.T)
    turn[:p] = left @ turn[:p]
    if p < len(axes):
        rest = (turn[p:] * values) @ turn[p:].T
        turn[p:] = np.linalg.eigh(rest)[1].T[::-1] @ turn[p:]
    return turn


def _signed(axes: Array64) -> Array64:
    """The rows of `axes`, each with its largest entry by magnitude made positive."""
    peaks = axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)]
    return axes * np.where(peaks < 0, -1.0, 1.0)[:, None]
