"""What the database counts, sorts and cuts is what Python does, on any ledger."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_telekom_sms.exceptions import LedgerError, LedgerUnavailableError
from airflow_provider_telekom_sms.ledger import actions, overview, planning, schema, sending
from airflow_provider_telekom_sms.ledger.overview import Place
from airflow_provider_telekom_sms.ledger.sending import Outcome
from airflow_provider_telekom_sms.ledger.store import Ledger, State
from airflow_provider_telekom_sms.ui.shown import chart
from tests.ledger.conftest import opened
from tests.ui.ledgers import BEGAN, counted, messages, write

WITH_DESK = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
HOUR = 3_600_000


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request, tmp_path):
    yield from opened(request.param, request, tmp_path)


@pytest.fixture
def file_ledger(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield ledger
    ledger.close()


@WITH_DESK
@given(found=st.lists(messages(), max_size=40))
def test_figures_are_what_python_counts(desk, found):
    write(desk.ledger, found)
    for number in range(3):
        figures = overview.figures(desk.ledger, number + 1)
        right = counted(found, number)
        assert {name: getattr(figures, name) for name in right} == right
        mine = [one for one in found if one["campaign"] == number]
        sent = [one["parts"] or 0 for one in mine if one["state"] == "accepted"]
        assert sum(figures.sent_parts.values()) == sum(sent)
        never = ("invalid", "duplicate", "suppressed")
        assert sum(figures.parts.values()) == sum(o["parts"] or 0 for o in mine if o["state"] not in never)
        [campaign] = [c for c in overview.campaigns(desk.ledger) if c.number == number + 1]
        assert campaign.in_doubt == sum(one["state"] == "in_doubt" for one in mine)


@WITH_DESK
@given(found=st.lists(messages(), max_size=40))
def test_details_are_what_python_counts(desk, found):
    write(desk.ledger, found)
    for campaign in overview.campaigns(desk.ledger):
        mine = [one for one in found if one["campaign"] == campaign.number - 1]
        figures = overview.figures(desk.ledger, campaign.number)
        details = overview.details(desk.ledger, campaign, figures)
        sent = [one["state_at"] for one in mine if one["state"] == "accepted"]
        arrived = [one["delivered_at"] for one in mine if one["delivered_at"] is not None]
        timeline = details.timeline
        if not sent:
            assert timeline is None
        else:
            assert len(timeline.sent) == len(timeline.delivered) <= overview.BARS
            assert (sum(timeline.sent), sum(timeline.delivered)) == (len(sent), len(arrived))
            for bars, times in ((timeline.sent, sent), (timeline.delivered, arrived)):
                right = [0] * len(bars)
                for at in times:
                    right[(at - timeline.start) // timeline.step] += 1
                assert list(bars) == right
        prices = [(1 + one["plan"]) / 10 * (one["parts"] or 0) for one in mine if one["state"] == "accepted"]
        assert details.sent_price == pytest.approx(sum(prices))
        for reasons, state in ((details.rejected, "rejected"), (details.invalid, "invalid")):
            right = [overview.kind_of(one["reason"] or "") for one in mine if one["state"] == state]
            assert dict(reasons) == {reason: right.count(reason) for reason in right}
            assert not any("903" in reason for reason, _ in reasons)


def is_shown(one, shown):
    state, code, final = one["state"], one["delivery_code"], one["is_final"]
    if shown in list(State):
        return state == shown
    if shown.isupper():
        return code == shown
    return {
        "all": True,
        "arrived": code in ("DELIVERED", "READ"),
        "on_the_way": state == "accepted" and not final,
        "undelivered": final and code not in ("UNKNOWN", "DELIVERED", "READ"),
    }[shown]


@settings(WITH_DESK, max_examples=8)
@given(found=st.lists(messages(), min_size=20, max_size=60), limit=st.integers(1, 7))
def test_pages_put_together_are_all_rows(desk, found, limit):
    write(desk.ledger, found)
    for shown in overview.SHOWN:
        pages, after = [], None
        while page := overview.rows(desk.ledger, 1, shown, after=after, limit=limit):
            assert len(page) <= limit
            pages += page
            after = Place(page[-1].plan_id, page[-1].row, page[-1].id)
        places = [
            (10 + one["plan"], one["row"], number)
            for number, one in enumerate(found, 1)
            if one["campaign"] == 0 and is_shown(one, shown)
        ]
        # What is planned goes by number: in a real plan that is the order of the rows.
        by_number = shown == State.PLANNED
        right = sorted(places, key=lambda place: (place[0], place[2]) if by_number else place)
        assert [(row.plan_id, row.row, row.id) for row in pages] == right


def test_campaigns_are_paged_and_searched(desk, ledger):
    names = [f"reminders/{n}" if n % 2 else f"100%_{n}\\Žltý" for n in range(23)]
    for name in names:
        desk.begin(name)
    seen, before = [], None
    while page := overview.campaigns(ledger, before=before, limit=5):
        seen += page
        before = page[-1].number
    assert [campaign.name for campaign in seen] == names[::-1]
    assert len(overview.campaigns(ledger, search="REMINDERS")) == 11
    assert [c.name for c in overview.campaigns(ledger, search="ders/1")] == [
        n for n in names[::-1] if "ders/1" in n
    ]
    for found, search in (
        (12, "%"),
        (12, "%_"),
        (12, "\\Ž"),
        (0, "_%"),
        (0, "' OR 1=1 --"),
        (0, "x" * 10_000),
    ):
        assert len(overview.campaigns(ledger, search=search)) == found


def test_what_a_dead_try_had_claimed_is_in_doubt(desk, ledger):
    owner = desk.planned(5)
    claimed = sending.exchange(ledger, owner, [], 3).claimed
    number = owner.campaign_id
    assert overview.campaign(ledger, number).in_doubt == 0
    assert overview.doubts(ledger, number) == []
    sending.exchange(ledger, owner, [Outcome(claimed[2].id, State.IN_DOUBT, reason="no reply")], 0)
    desk.sql("UPDATE telekom_sms_owner SET lease_until = 1")
    campaign = overview.campaign(ledger, number)
    assert (campaign.in_doubt, campaign.at_work) == (3, 0)
    found = [overview.doubts(ledger, number, limit=2)]
    last = found[0][-1]
    found.append(overview.doubts(ledger, number, after=Place(last.plan_id, last.row, last.id)))
    assert [[row.row for row in page] for page in found] == [[1, 2], [3]]
    assert all(row.has_text for page in found for row in page)
    assert [one.alive for one in overview.tries(ledger, number, 5)] == [False]
    assert [d.row for d in actions.in_doubt(ledger, "campaign")] == [1, 2, 3]


def test_a_version_tells_of_what_was_done(desk, ledger):
    owner = desk.planned(3)
    versions = [overview.campaign(ledger, 1).version]

    def changed():
        versions.append(overview.campaign(ledger, 1).version)
        return versions[-1] != versions[-2]

    claimed = sending.exchange(ledger, owner, [], 2).claimed
    assert not changed()
    sending.exchange(ledger, owner, [Outcome(m.id, State.IN_DOUBT, reason="no reply") for m in claimed], 0)
    assert changed()
    actions.settle(ledger, "campaign", "drop", rows=[1], actor="me", reason="so")
    assert changed()
    actions.pause(ledger, "campaign", actor="me", reason="so")
    assert changed()
    planning.end(ledger, owner)
    assert changed()
    desk.plan(desk.begin(slot="other"), 2, first=10)
    assert changed()


def test_history_tells_what_was_done_at_once_in_one_line(desk, ledger):
    owner = desk.planned(40)
    claimed = sending.exchange(ledger, owner, [], 40).claimed
    sending.exchange(ledger, owner, [Outcome(m.id, State.IN_DOUBT, reason="no reply") for m in claimed], 0)
    actions.settle(ledger, "campaign", "drop", rows=[7], actor="jana", reason="one")
    actions.settle(ledger, "campaign", "sent", actor="jana", reason="the rest")
    actions.pause(ledger, "campaign", actor="peter", reason="so")
    assert [deed[1:] for deed in overview.history(ledger, "campaign", 10)] == [
        ("pause", "peter", "so", 1, None),
        ("settle: sent", "jana", "the rest", 39, None),
        ("settle: drop", "jana", "one", 1, 7),
    ]
    assert len(overview.history(ledger, "campaign", 2)) == 2


def test_times_that_cannot_be_do_not_flatten_the_rest(desk, ledger):
    write(ledger, [])
    for row, at in enumerate([0, BEGAN + 60_000, BEGAN + 120_000, BEGAN + 400 * 365 * 24 * HOUR], 1):
        desk.sql(
            "INSERT INTO telekom_sms_message (campaign_id, plan_id, row, state, state_at, delivery_code, "
            "delivered_at, is_final) VALUES (1, 10, ?, 'accepted', ?, 'DELIVERED', ?, true)",
            row, BEGAN, at,
        )  # fmt: skip
    campaign = overview.campaign(ledger, 1)
    timeline = overview.details(ledger, campaign, overview.figures(ledger, 1)).timeline
    assert timeline.step == 60_000
    assert (timeline.sent, timeline.delivered) == ((4, 0, 0), (0, 1, 1))


def at(*moment):
    return int(datetime(*moment, tzinfo=overview.ZONE).timestamp() * 1000)


@pytest.mark.parametrize(
    ("first", "last", "step", "labels"),
    [
        (at(2026, 3, 6, 0, 30), at(2026, 4, 12, 23, 30), 24 * HOUR, ("06 Mar", "12 Apr")),
        (at(2026, 10, 6, 0, 30), at(2026, 11, 11, 12), 24 * HOUR, ("06 Oct", "11 Nov")),
        (at(2025, 12, 6, 0, 30), at(2026, 1, 11, 12), 24 * HOUR, ("06 Dec 2025", "11 Jan 2026")),
        (at(2019, 1, 1), at(2026, 1, 1), 2 * 28 * 24 * HOUR, ("01 Jan 2019", "25 Nov 2025")),
    ],
)
def test_days_are_those_of_bratislava(file_ledger, first, last, step, labels):
    common = {"campaign": 0, "plan": 0, "parts": 1, "state": "accepted", "reason": None, "phone": "1"}
    common |= {"delivery_code": None, "is_final": False, "delivered_at": None}
    write(file_ledger, [{**common, "row": row, "state_at": time} for row, time in enumerate((first, last))])
    campaign = overview.campaign(file_ledger, 1)
    timeline = overview.details(file_ledger, campaign, overview.figures(file_ledger, 1)).timeline
    assert (timeline.step, sum(timeline.sent)) == (step, 2)
    assert len(timeline.sent) <= overview.BARS
    rows = chart(timeline).rows
    assert (rows[0][0], rows[-1][0]) == labels


def test_answers_are_those_that_are_shown(desk, ledger):
    write(ledger, [])
    common = {"received_at": BEGAN, "campaign_id": 1, "payload": "{}", "phone": "1", "kind": "postback"}
    taps = [f"once {n}" for n in range(20)] + ["twice"] * 2
    rows = [{**common, "hash": b"%16d" % n, "postback_data": data} for n, data in enumerate(taps)]
    with ledger.transaction() as connection:
        connection.execute(schema.callback.insert(), rows)
    campaign = overview.campaign(ledger, 1)
    details = overview.details(ledger, campaign, overview.figures(ledger, 1))
    assert details.taps[0] == ("twice", 2)
    assert len(details.taps) == overview.TAPS
    assert (details.tapped, details.replies) == (22, 0)


def test_a_price_is_given_only_where_all_of_it_is_known(desk, ledger):
    write(ledger, [])
    desk.sql("UPDATE telekom_sms_plan SET summary = NULL WHERE id = 11")
    for plan, row in ((10, 1), (11, 2)):
        campaign = overview.campaign(ledger, 1)
        details = overview.details(ledger, campaign, overview.figures(ledger, 1))
        assert details.price == (0 if row == 1 else 0.2)
        desk.sql(
            "INSERT INTO telekom_sms_message (campaign_id, plan_id, row, state, parts) "
            "VALUES (1, ?, ?, 'planned', 2)",
            plan, row,
        )  # fmt: skip
    campaign = overview.campaign(ledger, 1)
    assert overview.details(ledger, campaign, overview.figures(ledger, 1)).price is None


# --- ledgers that cannot be looked at -----------------------------------------------------------------------


def test_to_look_makes_no_ledger(tmp_path, postgres):
    path = tmp_path / "ledger.db"
    assert overview.find(f"sqlite:///{path}") is None
    assert list(tmp_path.iterdir()) == []
    path.touch()
    assert overview.find(f"sqlite:///{path}") is None
    assert path.read_bytes() == b""
    url = postgres.database()
    assert overview.find(url) is None
    assert postgres.sql(
        url, "SELECT count(*) FROM information_schema.tables WHERE table_name LIKE 'tele%'"
    ) == [(0,)]


def test_a_file_that_is_something_else_is_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("Toto nie je databáza. " * 100)
    with pytest.raises(LedgerError, match="not a database"):
        overview.find(f"sqlite:///{path}")
    assert path.read_text().startswith("Toto")


def test_a_database_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "foreign.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE telekom (a)")
    before = path.read_bytes()
    assert overview.find(f"sqlite:///{path}") is None
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("by", "advice"), [(1, "install the newer package"), (-1, "brings them up to date")])
def test_tables_of_another_version(desk, by, advice):
    desk.sql(f"UPDATE telekom_sms_ledger SET schema_version = schema_version + {by}")
    before = desk.sql("SELECT schema_version FROM telekom_sms_ledger")
    with pytest.raises(LedgerError, match=advice):
        overview.find(desk.url)
    assert desk.sql("SELECT schema_version FROM telekom_sms_ledger") == before


def test_a_ledger_without_its_id_or_a_table(desk):
    desk.sql("DROP TABLE telekom_sms_throttle")
    with pytest.raises(LedgerError, match="lacks the tables telekom_sms_throttle"):
        overview.find(desk.url)
    desk.sql("DELETE FROM telekom_sms_ledger")
    with pytest.raises(LedgerError, match="lost its id"):
        overview.find(desk.url)


def test_a_server_that_is_away(postgres):
    with pytest.raises(LedgerUnavailableError):
        overview.find(postgres.database().set(port=1))


def test_what_did_not_go_well_has_indexes(desk, ledger):
    """Among a million messages it is found at once; SQLite needs the condition as it stands."""
    write(ledger, [])
    for shown, index in (("rejected", "aside"), ("in_doubt", "aside"), ("EXPIRED", "undelivered")):
        statements: list[str] = []

        def hear(connection, cursor, statement, parameters, context, many, heard=statements):
            heard.append((statement, parameters))

        sa.event.listen(ledger.engine, "before_cursor_execute", hear)
        overview.rows(ledger, 1, shown)
        sa.event.remove(ledger.engine, "before_cursor_execute", hear)
        statement, parameters = next(one for one in statements if "FROM telekom_sms_message" in one[0])
        explain = "EXPLAIN QUERY PLAN" if ledger.dialect == "sqlite" else "EXPLAIN"
        with ledger.reading() as connection:
            if ledger.dialect == "postgresql":
                connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            plan = str(connection.exec_driver_sql(f"{explain} {statement}", parameters).all())
        assert f"telekom_sms_message_{index}" in plan


def test_an_older_ledger_gets_them(desk):
    for name in ("aside", "undelivered"):
        desk.sql(f"DROP INDEX telekom_sms_message_{name}")
    desk.sql("UPDATE telekom_sms_ledger SET schema_version = 3")
    Ledger(desk.url).close()
    with desk.ledger.reading() as connection:
        names = {index["name"] for index in sa.inspect(connection).get_indexes("telekom_sms_message")}
    assert {"telekom_sms_message_aside", "telekom_sms_message_undelivered"} <= names
