"""Altered tables: what others may set on a table of ours that the service cannot keep to.

Anybody with write access may set a property, switch on a table feature or change the columns, from Spark
for instance. The name, the description and further columns that may be null are theirs to set. With what
is refused below, commits would fail or break what was set, or rows that others have deleted come back.
"""

from collections.abc import Collection, Mapping

import pyarrow as pa

from processor.errors import StoreError

READ_PLAINLY = {"timestampNtz"}  # reader features with which a data file's rows are the table's
CONSTRAINT = "delta.constraints."


def check(folder: str, properties: Mapping[str, str | None], features: Collection[str]) -> None:
    """Raise :class:`StoreError` for the first property or reader feature that cannot be kept to."""
    if str(properties.get("delta.appendOnly")).lower() == "true":
        raise StoreError(
            f"{folder} is append-only, so no row can be replaced or removed: set its property "
            "delta.appendOnly to false"
        )
    for name in properties:
        if name.startswith(CONSTRAINT):
            constraint = name.removeprefix(CONSTRAINT)
            raise StoreError(
                f"{folder} has a CHECK constraint {constraint!r}, which the service cannot enforce: "
                f"drop it (ALTER TABLE … DROP CONSTRAINT {constraint})"
            )
    odd = sorted(set(features) - READ_PLAINLY)
    if (properties.get("delta.columnMapping.mode") or "none") != "none":
        odd.append("columnMapping")
    if odd:
        raise unsupported(folder, f"somebody has switched on the table feature {odd[0]!r}")


def check_columns(folder: str, columns: pa.Schema, wanted: pa.Schema) -> None:
    """Raise :class:`StoreError` unless those wanted are among ``columns``, and any other may be null."""
    for field in wanted:
        at = columns.get_field_index(field.name)
        found = columns.field(at).type if at >= 0 else "missing"
        if found != field.type:
            raise unsupported(folder, f"its column {field.name!r} is {found}, not {field.type}")
    for field in columns:
        if not field.nullable and field.name not in wanted.names:
            raise unsupported(folder, f"its column {field.name!r} may not be null")


def unsupported(folder: str, cause: str) -> StoreError:
    """The error for a table that the service can no longer keep, for a ``cause`` in one line."""
    return StoreError(
        f"{folder} is not as the service made it ({cause}): undo that (RESTORE TABLE, ALTER TABLE … "
        "DROP FEATURE), or set storage.store_prefix to a new folder"
    )
