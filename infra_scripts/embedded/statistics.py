"""The embedded CloudWatch's statistics: of one metric, as CloudWatch's are.

To CloudWatch each combination of dimensions is a metric of its own. moto adds those that have further
dimensions, so what is also counted by reason would be counted twice.
"""

from types import SimpleNamespace
from typing import Any

from moto.cloudwatch.models import CloudWatchBackend

_statistics_by_moto: Any = CloudWatchBackend.get_metric_statistics


def _get_metric_statistics(
    backend: CloudWatchBackend, *request: Any, dimensions: list[Any], **others: Any
) -> Any:
    same = [each for each in backend.get_all_metrics() if len(each.dimensions) == len(dimensions)]
    seen = SimpleNamespace(get_all_metrics=lambda: same)
    return _statistics_by_moto(seen, *request, dimensions=dimensions, **others)


def install() -> None:
    """Let moto's CloudWatch answer this way."""
    CloudWatchBackend.get_metric_statistics = _get_metric_statistics  # type: ignore[method-assign, assignment]
