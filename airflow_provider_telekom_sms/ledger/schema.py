"""
The tables of the ledger. Times are milliseconds since 1970 UTC, by the database's clock.

::

    campaign 1 ── n plan 1 ── n message      one plan per source that was read into the campaign
             1 ── n owner                    one owner per try of a task that sends
             1 ── n action                   what people did to it: settled, paused, cancelled, purged
    rate                                     one row per API key: when its next message may leave
    callback                                 one row per thing that the API told, about a message or not
    opt_out                                  numbers whose owner wants no more messages
    throttle                                 one row per alert that is sent once in a while: when it last was
    event_watcher 1 ── n event_batch         how far a watcher has looked, and what it made asset events of:
             1 ── n event_answer             callbacks, each once; in no batch while its campaign is unknown
             1 ── n event_campaign           plans of campaigns, each once; in no batch until it is finished
             1 ── n event_take               one row per DAG run that took batches
    event_batch 1 ── n event_taken           one row per DAG that has the batch
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    select,
    text,
)

#: Raised with every change of the tables.
SCHEMA_VERSION = 4


class Migration(NamedTuple):
    """What makes a ledger of one version one of the next."""

    new_tables: frozenset[str]
    statements: tuple[str, ...]


#: By the version they start from.
MIGRATIONS = {
    1: Migration(
        frozenset({"telekom_sms_action"}),
        (
            "ALTER TABLE telekom_sms_plan ADD COLUMN key_column TEXT",
            "ALTER TABLE telekom_sms_plan ADD COLUMN summary TEXT",
        ),
    ),
    2: Migration(
        frozenset({"telekom_sms_callback", "telekom_sms_opt_out", "telekom_sms_throttle"}),
        (
            "ALTER TABLE telekom_sms_plan ADD COLUMN ttl INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE telekom_sms_message ADD COLUMN external_id TEXT",
            "CREATE INDEX telekom_sms_message_external_id ON telekom_sms_message (external_id) "
            "WHERE external_id IS NOT NULL",
        ),
    ),
    3: Migration(
        frozenset(
            {
                "telekom_sms_event_watcher",
                "telekom_sms_event_batch",
                "telekom_sms_event_answer",
                "telekom_sms_event_campaign",
                "telekom_sms_event_take",
                "telekom_sms_event_taken",
            }
        ),
        (
            # With an older ledger the table was made just now, and its indexes with it.
            "CREATE INDEX IF NOT EXISTS telekom_sms_callback_said ON telekom_sms_callback (id) "
            "WHERE kind <> 'dsn'",
            "CREATE INDEX IF NOT EXISTS telekom_sms_message_aside ON telekom_sms_message "
            "(campaign_id, state, plan_id, row, id) WHERE "
            "state IN ('rejected', 'in_doubt', 'invalid', 'duplicate', 'suppressed')",
            "CREATE INDEX IF NOT EXISTS telekom_sms_message_undelivered ON telekom_sms_message "
            "(campaign_id, delivery_code, plan_id, row, id) WHERE "
            "delivery_code IN ('ERROR', 'UNKNOWN', 'EXPIRED', 'DELETED', 'UNDELIVERABLE', 'DENIED')",
        ),
    ),
}

metadata = MetaData()
#: Only an INTEGER primary key counts up by itself in SQLite.
Id = BigInteger().with_variant(Integer, "sqlite")
#: Without this SQLite would give the number of a deleted last row again; a fencing token must be new.
COUNTS_UP: Any = {"sqlite_autoincrement": True}

ledger = Table(
    "telekom_sms_ledger",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("schema_version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

campaign = Table(
    "telekom_sms_campaign",
    metadata,
    Column("id", Id, primary_key=True),
    # A name may be longer than an index allows.
    Column("name_hash", String(64), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("state", String(12), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    **COUNTS_UP,
)


def name_hash(name: str) -> str:
    """Give what a campaign is found by."""
    return hashlib.sha256(name.encode()).hexdigest()


def campaign_named(name: str) -> Select[Any]:
    """Give the query for a campaign's number in the ledger, by its id as the user knows it."""
    return select(campaign.c.id).where(campaign.c.name_hash == name_hash(name))


owner = Table(
    "telekom_sms_owner",
    metadata,
    # The fencing token.
    Column("id", Id, primary_key=True),
    Column("campaign_id", ForeignKey(campaign.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("slot", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    **COUNTS_UP,
)

plan = Table(
    "telekom_sms_plan",
    metadata,
    Column("id", Id, primary_key=True),
    Column("campaign_id", ForeignKey(campaign.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("owner_id", Id, nullable=False),
    Column("slot", Text, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("state", String(12), nullable=False),
    # A failed delivery may still be mended by another channel.
    Column("fallback", Boolean, nullable=False),
    # Seconds that the channels before the last one have.
    Column("ttl", Integer, nullable=False, server_default=text("0")),
    # What all its messages are sent with, as JSON.
    Column("parameters", Text, nullable=False),
    # The column whose value may be sent once; empty for number and text.
    Column("key_column", Text),
    # What was found out while it was made, as JSON: what costs, and samples with masked values.
    Column("summary", Text),
    Column("created_at", BigInteger, nullable=False),
    **COUNTS_UP,
)

message = Table(
    "telekom_sms_message",
    metadata,
    Column("id", Id, primary_key=True),
    Column("campaign_id", ForeignKey(campaign.c.id, ondelete="CASCADE"), nullable=False),
    Column("plan_id", ForeignKey(plan.c.id, ondelete="CASCADE"), nullable=False),
    Column("row", Integer, nullable=False),
    # Empty where the row can never be sent; only one row of a campaign can have a key.
    Column("key_hash", LargeBinary(16)),
    Column("key", Text),
    Column("phone", Text),
    Column("text", Text),
    Column("parts", SmallInteger),
    Column("state", String(10), nullable=False),
    # Why it stands in this state: a reason of ours, or the API's code and description.
    Column("reason", Text),
    Column("owner_id", Id),
    Column("state_at", BigInteger),
    Column("message_id", Text),
    # The user's own id, where there is one (API v2); see sending.external_id.
    Column("external_id", Text),
    # What the API says of the delivery; beside the state, never instead of it.
    Column("delivery_code", Text),
    Column("delivered_at", BigInteger),
    Column("is_final", Boolean, nullable=False, server_default=text("false")),
    Column("trouble_since", BigInteger),
    Column("next_check_at", BigInteger),
    UniqueConstraint("campaign_id", "key_hash", name="telekom_sms_message_once"),
    **COUNTS_UP,
)


def _partial(name: str, *columns: Column[object], where: str) -> Index:
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


_c = message.c
Index("telekom_sms_message_plan", _c.plan_id, _c.row)
_partial("telekom_sms_message_planned", _c.plan_id, _c.id, where="state = 'planned'")
_partial("telekom_sms_message_claimed", _c.owner_id, where="state = 'claimed'")
_partial("telekom_sms_message_id", _c.message_id, where="message_id IS NOT NULL")
_partial("telekom_sms_message_external_id", _c.external_id, where="external_id IS NOT NULL")
_partial(
    "telekom_sms_message_due",
    _c.campaign_id,
    _c.next_check_at,
    where="state = 'accepted' AND NOT is_final",
)

#: What did not go well. Few have to be found among many; whatever is sent and arrives costs nothing here.
#: Queries repeat these conditions literally, or SQLite does not use the indexes.
ASIDE = "state IN ('rejected', 'in_doubt', 'invalid', 'duplicate', 'suppressed')"
UNDELIVERED = "delivery_code IN ('ERROR', 'UNKNOWN', 'EXPIRED', 'DELETED', 'UNDELIVERABLE', 'DENIED')"
_partial("telekom_sms_message_aside", _c.campaign_id, _c.state, _c.plan_id, _c.row, _c.id, where=ASIDE)
_partial(
    "telekom_sms_message_undelivered",
    _c.campaign_id,
    _c.delivery_code,
    _c.plan_id,
    _c.row,
    _c.id,
    where=UNDELIVERED,
)

action = Table(
    "telekom_sms_action",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at", BigInteger, nullable=False),
    # Kept when the campaign is gone.
    Column("campaign", Text, nullable=False, index=True),
    # The message's number in the ledger, where it was done to a single one.
    Column("message_id", Id),
    Column("action", String(20), nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    **COUNTS_UP,
)

rate = Table(
    "telekom_sms_rate",
    metadata,
    Column("key_hash", String(64), primary_key=True),
    # Microseconds since 1970 UTC: at 500 messages/s a millisecond would be too coarse.
    Column("next_at", BigInteger, nullable=False),
)

throttle = Table(
    "telekom_sms_throttle",
    metadata,
    Column("key_hash", String(64), primary_key=True),
    Column("last_at", BigInteger, nullable=False),
    # The last one was surely not sent, so the next may be.
    Column("is_free", Boolean, nullable=False),
    # Tells a claim from the ones before and after it.
    Column("number", BigInteger, nullable=False),
    # Since the last one that was sent.
    Column("held_back", BigInteger, nullable=False),
)

callback = Table(
    "telekom_sms_callback",
    metadata,
    Column("id", Id, primary_key=True),
    Column("received_at", BigInteger, nullable=False),
    # dsn, postback or inbound.
    Column("kind", String(10), nullable=False),
    # The same comes more than once: what it is known by.
    Column("hash", LargeBinary(16), nullable=False, unique=True),
    Column("message_id", Text),
    Column("external_id", Text),
    Column("code", Text),
    Column("channel", Text),
    # When it happened, as the API says.
    Column("occurred_at", BigInteger),
    # Who wrote, as numbers stand in the messages, or as it came where it is no such number.
    Column("phone", Text),
    Column("text", Text),
    Column("postback_data", Text),
    # As it came.
    Column("payload", Text, nullable=False),
    # The message it was applied to; empty where none is known.
    Column("campaign_id", Id),
    Column("row_id", Id),
    # When to look again for its message, whose sending may not be recorded yet.
    Column("look_again_at", BigInteger),
    **COUNTS_UP,
)
_b = callback.c
_partial("telekom_sms_callback_campaign", _b.campaign_id, _b.id, where="campaign_id IS NOT NULL")
_partial("telekom_sms_callback_row", _b.row_id, where="row_id IS NOT NULL")
_partial("telekom_sms_callback_waiting", _b.look_again_at, where="look_again_at IS NOT NULL")
_partial("telekom_sms_callback_said", _b.id, where="kind <> 'dsn'")

opt_out = Table(
    "telekom_sms_opt_out",
    metadata,
    Column("phone", String(12), primary_key=True),
    Column("at", BigInteger, nullable=False),
)

event_watcher = Table(
    "telekom_sms_event_watcher",
    metadata,
    Column("id", Id, primary_key=True),
    Column("key_hash", String(64), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    # The last callback it has looked at, and the last plan; nothing can be committed before these any more.
    Column("callback_id", Id, nullable=False),
    Column("plan_id", Id, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    **COUNTS_UP,
)


def _of_watcher() -> Column[Any]:
    return Column("watcher_id", ForeignKey(event_watcher.c.id, ondelete="CASCADE"), nullable=False)


event_batch = Table(
    "telekom_sms_event_batch",
    metadata,
    # Rises from batch to batch of a watcher.
    Column("id", Id, primary_key=True),
    _of_watcher(),
    # The asset event's, as JSON.
    Column("payload", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("handed_over_at", BigInteger),
    # When Airflow had stored the event.
    Column("confirmed_at", BigInteger),
    **COUNTS_UP,
)
_e = event_batch.c
Index("telekom_sms_event_batch_watcher", _e.watcher_id, _e.id)
_partial("telekom_sms_event_batch_open", _e.watcher_id, _e.id, where="confirmed_at IS NULL")


def _in_batch() -> Column[Any]:
    return Column("batch_id", ForeignKey(event_batch.c.id, ondelete="CASCADE"))


event_answer = Table(
    "telekom_sms_event_answer",
    metadata,
    Column("callback_id", ForeignKey(callback.c.id, ondelete="CASCADE"), primary_key=True),
    Column("watcher_id", ForeignKey(event_watcher.c.id, ondelete="CASCADE"), primary_key=True),
    _in_batch(),
)
_e = event_answer.c
_partial("telekom_sms_event_answer_batch", _e.batch_id, _e.callback_id, where="batch_id IS NOT NULL")
_partial("telekom_sms_event_answer_open", _e.watcher_id, _e.callback_id, where="batch_id IS NULL")

event_campaign = Table(
    "telekom_sms_event_campaign",
    metadata,
    Column("campaign_id", ForeignKey(campaign.c.id, ondelete="CASCADE"), primary_key=True),
    Column("watcher_id", ForeignKey(event_watcher.c.id, ondelete="CASCADE"), primary_key=True),
    # campaign_sent or campaign_delivered.
    Column("kind", String(20), primary_key=True),
    Column("plan_id", Id, primary_key=True),
    Column("found_at", BigInteger, nullable=False),
    # When to look whether it is finished.
    Column("look_at", BigInteger, nullable=False),
    _in_batch(),
    # Messages by state when it was finished, as JSON.
    Column("counts", Text),
)
_e = event_campaign.c
_partial("telekom_sms_event_campaign_batch", _e.batch_id, where="batch_id IS NOT NULL")
_partial("telekom_sms_event_campaign_open", _e.watcher_id, _e.look_at, where="batch_id IS NULL")

event_take = Table(
    "telekom_sms_event_take",
    metadata,
    Column("id", Id, primary_key=True),
    _of_watcher(),
    Column("dag_id", String(250), nullable=False),
    Column("run_id", String(250), nullable=False),
    Column("at", BigInteger, nullable=False),
    UniqueConstraint("watcher_id", "dag_id", "run_id", name="telekom_sms_event_take_once"),
    **COUNTS_UP,
)

event_taken = Table(
    "telekom_sms_event_taken",
    metadata,
    Column("batch_id", ForeignKey(event_batch.c.id, ondelete="CASCADE"), primary_key=True),
    Column("dag_id", String(250), primary_key=True),
    Column("take_id", ForeignKey(event_take.c.id, ondelete="CASCADE"), nullable=False, index=True),
)
