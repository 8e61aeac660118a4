"""Makes a ledger one of an older version again."""

from __future__ import annotations

from typing import Any

from airflow_provider_telekom_sms.ledger import schema

#: What undoes the statements of a migration, by the version it starts from.
_UNDO = {
    1: (
        "ALTER TABLE telekom_sms_plan DROP COLUMN key_column",
        "ALTER TABLE telekom_sms_plan DROP COLUMN summary",
    ),
    2: (
        "ALTER TABLE telekom_sms_plan DROP COLUMN ttl",
        "DROP INDEX telekom_sms_message_external_id",
        "ALTER TABLE telekom_sms_message DROP COLUMN external_id",
    ),
    3: (
        "DROP INDEX telekom_sms_callback_said",
        "DROP INDEX telekom_sms_message_aside",
        "DROP INDEX telekom_sms_message_undelivered",
    ),
}


def make_older(desk: Any, version: int) -> None:
    """
    Take a ledger back to a version.

    :param desk: the ledger's desk, see conftest.py
    """
    for step in range(schema.SCHEMA_VERSION - 1, version - 1, -1):
        for statement in _UNDO[step]:
            desk.sql(statement)
        for table in reversed(schema.metadata.sorted_tables):
            if table.name in schema.MIGRATIONS[step].new_tables:
                desk.sql(f"DROP TABLE {table.name}")
    desk.sql("UPDATE telekom_sms_ledger SET schema_version = ?", version)
