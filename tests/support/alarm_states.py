"""The states of alarms, as CloudWatch documents their evaluation; the embedded one evaluates none.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html and
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
"""

import ast
import itertools
import operator
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

MINUTE = timedelta(minutes=1)
MORE = 2  # periods that CloudWatch looks at beyond those that it evaluates

Series = dict[int, float]  # by the number of the period, 0 the newest
Number = float | Series

OPERATORS: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Div: operator.truediv,
    ast.Gt: lambda a, b: float(a > b),
    ast.GtE: lambda a, b: float(a >= b),
    ast.Lt: lambda a, b: float(a < b),
    ast.And: lambda a, b: float(bool(a) and bool(b)),
}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
}


def state(cloudwatch: Any, alarm: Mapping[str, Any], now: datetime) -> str:
    """The state of an alarm as DescribeAlarms has it, at ``now``, from the data in CloudWatch."""
    wanted, most = alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]
    series = _watched(cloudwatch, alarm, now, wanted + MORE)
    real = [series[period] for period in sorted(series)][:wanted]
    if not real and alarm["TreatMissingData"] == "missing":
        return "INSUFFICIENT_DATA"
    beyond = COMPARISONS[alarm["ComparisonOperator"]]
    breaching = sum(beyond(value, alarm["Threshold"]) for value in real)
    if alarm["TreatMissingData"] == "breaching":
        breaching += wanted - len(real)
    else:
        assert alarm["TreatMissingData"] in ("missing", "notBreaching")
    return "ALARM" if breaching >= most else "OK"


def composite_state(rule: str, states: Mapping[str, str]) -> str:
    """The state of a composite alarm whose rule is that any of some is in ALARM."""
    terms = [re.fullmatch(r'ALARM\("([^"]+)"\)', term) for term in rule.split(" OR ")]
    assert all(terms), rule
    return "ALARM" if any(states[term[1]] == "ALARM" for term in terms if term) else "OK"


def _watched(cloudwatch: Any, alarm: Mapping[str, Any], now: datetime, periods: int) -> Series:
    if "MetricName" in alarm:
        names = ("Namespace", "MetricName", "Dimensions")
        metric = {name: alarm[name] for name in names}
        return _series(
            cloudwatch, metric, alarm["Statistic"], timedelta(seconds=alarm["Period"]), now, periods
        )
    known: dict[str, Number] = {}
    for query in alarm["Metrics"]:
        if "MetricStat" in query:
            stat = query["MetricStat"]
            period = timedelta(seconds=stat["Period"])
            known[query["Id"]] = _series(
                cloudwatch, stat["Metric"], stat["Stat"], period, now, periods
            )
        else:
            known[query["Id"]] = _computed(query["Expression"], known, periods)
    (returned,) = (query["Id"] for query in alarm["Metrics"] if query["ReturnData"])
    found = known[returned]
    assert isinstance(found, dict)
    return found


def _series(
    cloudwatch: Any,
    metric: Mapping[str, Any],
    statistic: str,
    period: timedelta,
    now: datetime,
    periods: int,
) -> Series:
    """The statistic of each period with data. Data have been put at whole minutes."""
    names = ("Sum", "Minimum", "Maximum", "SampleCount")
    points = cloudwatch.get_metric_statistics(
        **metric,
        StartTime=now - periods * period,
        EndTime=now,
        Period=60,
        Statistics=names,
    )["Datapoints"]
    parts: dict[int, list[dict[str, float]]] = {}
    for each in points:
        at = each["Timestamp"].astimezone(UTC)
        parts.setdefault((now - MINUTE - at) // period, []).append(each)
    totals: dict[str, Callable[[list[dict[str, float]]], float]] = {
        "Sum": lambda some: sum(each["Sum"] for each in some),
        "Minimum": lambda some: min(each["Minimum"] for each in some),
        "Maximum": lambda some: max(each["Maximum"] for each in some),
        "Average": lambda some: (
            sum(each["Sum"] for each in some) / sum(each["SampleCount"] for each in some)
        ),
    }
    return {number: totals[statistic](some) for number, some in parts.items()}


def _computed(expression: str, known: Mapping[str, Number], periods: int) -> Number:
    """Metric math, as far as the alarms use it; anything else is a KeyError."""
    spelled = expression.replace(" AND ", " and ")
    return _value(ast.parse(spelled, mode="eval").body, known, periods)


def _value(node: ast.AST, known: Mapping[str, Number], periods: int) -> Number:
    def value(of: ast.AST) -> Number:
        return _value(of, known, periods)

    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name):
            return known[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _each(OPERATORS[type(op)], value(left), value(right))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _each(OPERATORS[type(op)], value(left), value(right))
        case ast.BoolOp(op=op, values=[left, right]):
            return _each(OPERATORS[type(op)], value(left), value(right))
        case ast.Call(func=ast.Name(id="FILL"), args=[series, other]):
            return dict.fromkeys(range(periods), _at(value(other), 0)) | _as_series(value(series))
        case ast.Call(func=ast.Name(id=name), args=args):
            return {"IF": _if, "DIFF": _diff}[name](*map(value, args))
    raise KeyError(ast.dump(node))


def _each(does: Callable[[float, float], float], left: Number, right: Number) -> Number:
    """For each period for which both have a value. What cannot be divided has none."""
    if not isinstance(left, dict) and not isinstance(right, dict):
        return does(left, right)
    found: Series = {}
    for period in _periods(left, right):
        try:
            found[period] = does(_at(left, period), _at(right, period))
        except ZeroDivisionError:
            continue
    return found


def _if(condition: Number, then: Number, otherwise: Number) -> Number:
    assert isinstance(condition, dict)
    chosen = {period: then if holds else otherwise for period, holds in condition.items()}
    return {
        period: _at(values, period)
        for period, values in chosen.items()
        if not isinstance(values, dict) or period in values
    }


def _diff(values: Number) -> Number:
    """The difference to the value before, which the oldest lacks."""
    series = _as_series(values)
    order = sorted(series, reverse=True)
    return {new: series[new] - series[old] for old, new in itertools.pairwise(order)}


def _as_series(values: Number) -> Series:
    assert isinstance(values, dict)
    return values


def _periods(left: Number, right: Number) -> set[int]:
    both = [set(each) for each in (left, right) if isinstance(each, dict)]
    return both[0].intersection(*both)


def _at(values: Number, period: int) -> float:
    return values[period] if isinstance(values, dict) else values
