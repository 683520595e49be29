"""The features snapshot: one version of the features table, as a refit and the matrix see it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from common.layout import StoreLayout
from processor.store import delta
from processor.store.delta import Table


@dataclass(frozen=True, slots=True, eq=False)
class FeaturesSnapshot:
    """The data files that have the features at one table version; the files never change.

    ``sizes``: bytes of each live data file by its path in ``folder``. ``photos``: rows in all of them.
    ``network``: the model id of the network that computed the features.
    """

    folder: str
    table_version: int
    sizes: Mapping[str, int]
    photos: int
    network: str
    _table: Table

    @classmethod
    def newest(cls, layout: StoreLayout) -> Self | None:
        """The features as they are now; None before the first micro-batch."""
        table = delta.open_table(layout.features)
        if table is None:
            return None
        version = table.table_version
        return cls(layout.features, version, table.sizes(), table.rows, table.network, _table=table)

    def photos_changed_since(self, table_version: int) -> bool:
        """Whether photos were added or removed; see :meth:`.delta.Table.rows_changed_since`."""
        return self._table.rows_changed_since(table_version)
