"""
Many rows in one statement.

SQLite runs a statement a thousand times as fast as it runs a long one; to PostgreSQL each costs a plan of its
own, so it gets all values at once, a column of them as one array.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.sqlite import dialect as SQLite
from sqlalchemy.engine import Connection

#: The values of one row, by name.
Values = Mapping[str, sa.ColumnElement[Any]]


class Bulk:
    """
    A statement over many rows of values.

    :param types: names and types of the values
    :param build: makes the statement for values by name, and the FROM clause where they come from a table
    """

    def __init__(
        self,
        types: Mapping[str, Any],
        build: Callable[[Values, sa.FromClause | None], sa.Insert | sa.Update],
    ) -> None:
        self._types = types
        # Built once: to build a statement costs more than to run it. SQLite's driver gets it as it is: for
        # all values to pass through SQLAlchemy costs as much as to write them, and changes none.
        by_row = build({name: sa.bindparam(name, type_=kind) for name, kind in types.items()}, None)
        self._by_row = str(by_row.compile(dialect=SQLite(paramstyle="named")))
        arrays = [sa.cast(sa.bindparam(name, type_=ARRAY(kind)), ARRAY(kind)) for name, kind in types.items()]
        table = sa.func.unnest(*arrays).table_valued(
            *(sa.column(name, kind) for name, kind in types.items()), name="given"
        )
        table = table.render_derived()
        self._at_once = build(dict(table.c.items()), table)

    def execute(self, connection: Connection, rows: Sequence[Mapping[str, Any]], **same: Any) -> None:
        """
        Run it.

        :param rows: a value for every name
        :param same: parameters of the statement that are the same for all rows
        """
        if not rows:
            return
        if connection.dialect.name == "postgresql":
            columns = {name: [row[name] for row in rows] for name in self._types}
            connection.execute(self._at_once, {**columns, **same})
        else:
            connection.exec_driver_sql(self._by_row, [{**row, **same} for row in rows])
