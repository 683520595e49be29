"""CloudWatch's side of the embedded metric format: what it accepts, and the metric data it makes of it.

SCHEMA states the specification's rules (as of November 2026) but for those about the members that others
name, which are checked in code.
"""

from typing import Any

from jsonschema import Draft202012Validator

UNITS = [
    *("Seconds", "Microseconds", "Milliseconds", "Percent", "Count", "Count/Second", "None"),
    *(
        f"{prefix}{unit}{per}"
        for prefix in ("", "Kilo", "Mega", "Giga", "Tera")
        for unit in (("Bytes", "Bits") if not prefix else ("bytes", "bits"))
        for per in ("", "/Second")
    ),
]
NUMBER = {"type": "number"}
SCHEMA = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {
                "Timestamp": {"type": "integer", "minimum": 1_000_000_000_000},  # milliseconds
                "CloudWatchMetrics": {"type": "array", "items": {"$ref": "#/$defs/directive"}},
            },
        }
    },
    "$defs": {
        "directive": {
            "type": "object",
            "required": ["Namespace", "Dimensions", "Metrics"],
            "additionalProperties": False,
            "properties": {
                "Namespace": {"type": "string", "minLength": 1, "maxLength": 1024},
                "Dimensions": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "array",
                        "maxItems": 30,
                        "items": {"type": "string", "minLength": 1, "maxLength": 250},
                    },
                },
                "Metrics": {
                    "type": "array",
                    "maxItems": 100,
                    "items": {"$ref": "#/$defs/definition"},
                },
            },
        },
        "definition": {
            "type": "object",
            "required": ["Name"],
            "additionalProperties": False,
            "properties": {
                "Name": {"type": "string", "minLength": 1, "maxLength": 1024},
                "Unit": {"enum": UNITS},
                "StorageResolution": {"enum": [1, 60]},
            },
        },
    },
}
_DOCUMENT = Draft202012Validator(SCHEMA)
_VALUE = Draft202012Validator(
    {"anyOf": [NUMBER, {"type": "array", "maxItems": 100, "items": NUMBER}]}
)
_DIMENSION = Draft202012Validator({"type": "string", "minLength": 1, "maxLength": 1024})


def check(line: dict[str, Any]) -> None:
    """Raise unless CloudWatch accepts a line of the log as a document, with all that it refers to."""
    _DOCUMENT.validate(line)
    for directive in line["_aws"]["CloudWatchMetrics"]:
        for name in {name for names in directive["Dimensions"] for name in names}:
            _DIMENSION.validate(line[name])
        for definition in directive["Metrics"]:
            _VALUE.validate(line[definition["Name"]])


def metric_data(line: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What PutMetricData would be called with instead, by namespace."""
    check(line)
    data: dict[str, list[dict[str, Any]]] = {}
    for directive in line["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            for definition in directive["Metrics"]:
                value = line[definition["Name"]]
                data.setdefault(directive["Namespace"], []).append(
                    {
                        "MetricName": definition["Name"],
                        "Dimensions": [{"Name": each, "Value": line[each]} for each in names],
                        "Timestamp": line["_aws"]["Timestamp"] / 1000,
                        "Values": value if isinstance(value, list) else [value],
                        "Unit": definition.get("Unit", "None"),
                    }
                )
    return data
