from __future__ import annotations

import decimal
import json
import re
import traceback
from pathlib import Path

import pandas as pd
import pytest

from airflow_provider_telekom_sms.api.messages import SmsParameters
from airflow_provider_telekom_sms.campaign.plan import (
    CampaignSpec,
    Guards,
    MessageSettings,
    ensure_plan,
    first_check,
)
from airflow_provider_telekom_sms.campaign.run import Job, run_job, scratch_ledger
from airflow_provider_telekom_sms.exceptions import PlanError, SourceError
from airflow_provider_telekom_sms.ledger import planning, reporting, sending
from airflow_provider_telekom_sms.ledger.sending import Outcome
from airflow_provider_telekom_sms.ledger.store import State

NUMBER, TEXT = "0903123456", "Tajomstvo"


class Planner:
    def __init__(self, ledger):
        self.ledger = ledger

    def spec(self, source, **options):
        settings = options.pop("settings", None) or MessageSettings()
        if not {"text", "text_column"} & options.keys():
            options["text"] = "Ahoj {name}"
        return CampaignSpec(source, settings, **options)

    def plan(self, source, *, slot="slot", **options):
        """Begin a try and plan; the try goes on, as if it were to send."""
        self.owner = planning.begin(self.ledger, "campaign", slot)
        self.plan_id = ensure_plan(self.ledger, self.owner, self.spec(source, **options))
        return reporting.counts(self.ledger, self.owner.campaign_id, self.plan_id)

    def rows(self):
        return list(reporting.messages(self.ledger, self.owner.campaign_id))

    def claim(self, number=99):
        return sending.exchange(self.ledger, self.owner, [], number).claimed

    def refuses(self, kind, source, **options):
        """Planning fails, shows neither number nor text, and leaves nothing to claim."""
        with pytest.raises(kind) as caught:
            self.plan(source, **options)
        shown = "".join(traceback.format_exception(caught.value))
        assert NUMBER[1:] not in shown
        assert TEXT not in shown
        assert self.claim() == []
        return str(caught.value)


@pytest.fixture
def planner(ledger):
    return Planner(ledger)


def people(number):
    return [{"phone": f"09031{row:05d}", "name": f"č. {row}"} for row in range(number)]


GOOD = [{"phone": NUMBER, "name": "Ján"}, {"phone": "+421 903 111 222", "name": "Žofia"}]


def test_a_plan(planner):
    counts = planner.plan(GOOD)
    assert (counts.total, counts.planned, counts.parts) == (2, 2, 2)
    assert [(m.phone, m.text) for m in planner.claim()] == [
        ("421903123456", "Ahoj Ján"),
        ("421903111222", "Ahoj Žofia"),
    ]


def test_a_text_column(planner):
    planner.plan([{"phone": NUMBER, "text": "Text {nie je} šablóna"}], text_column="text")
    assert planner.claim()[0].text == "Text {nie je} šablóna"


def test_no_rows(planner):
    assert planner.plan([]).total == 0


BAD = [
    ({"phone": "0903", "name": "Ján"}, "phone number .* too few digits"),
    ({"phone": None, "name": "Ján"}, "is empty"),
    ({"phone": 903123456, "name": "Ján"}, "not text but int"),
    ({"phone": "0212345678", "name": "Ján"}, "not in a Slovak mobile range"),
    ({"phone": NUMBER, "name": None}, "column 'name' is empty"),
    ({"phone": NUMBER, "name": "\x07"}, r"U\+0007"),
    ({"phone": NUMBER, "name": "\ud83d"}, r"U\+D83D"),
    ({"phone": NUMBER}, "the row lacks 'name'"),
    ({"phone": "09\x0003\ud83d", "name": "Ján"}, "letters or signs"),
]


@pytest.mark.parametrize(("row", "reason"), BAD)
def test_a_bad_row_is_invalid_and_the_rest_goes_on(planner, row, reason):
    counts = planner.plan([*GOOD, row, *people(2)])
    assert (counts.planned, counts.invalid, counts.parts) == (4, 1, 4)
    [bad] = [m for m in planner.rows() if m.state == "invalid"]
    assert bad.row == 3
    assert bad.key_hash is bad.text is bad.owner_id is None
    assert re.search(reason, bad.reason), bad.reason
    assert len(planner.claim()) == 4


def test_texts_that_are_no_texts(planner):
    rows = [{"phone": NUMBER, "text": text} for text in (None, "", "  ", 7, "Ahoj")]
    counts = planner.plan(rows, text_column="text")
    assert (counts.planned, counts.invalid) == (1, 4)


def test_duplicates(planner):
    rows = [GOOD[0], {"phone": "+421903123456", "name": "Ján"}, {"phone": NUMBER, "name": "Jana"}]
    counts = planner.plan(rows)
    assert (counts.planned, counts.duplicate) == (2, 1)
    assert [(m.row, m.reason) for m in planner.rows() if m.state == "duplicate"] == [(2, "the same as row 1")]


def test_the_same_letters_in_another_form_are_a_duplicate(planner):
    rows = [{"phone": NUMBER, "name": "Ján"}, {"phone": NUMBER, "name": "Ja\u0301n"}]
    assert planner.plan(rows).duplicate == 1


def test_a_key_column(planner):
    rows = [
        {"phone": NUMBER, "name": "a", "id": "1"},
        {"phone": NUMBER, "name": "b", "id": "1 "},
        {"phone": NUMBER, "name": "a", "id": "2"},
        {"phone": NUMBER, "name": "a", "id": None},
        {"phone": NUMBER, "name": "a", "id": "  "},
        {"phone": NUMBER, "name": "a", "id": "\ud83d\x00"},
    ]
    counts = planner.plan(rows, key_column="id")
    assert (counts.planned, counts.duplicate, counts.invalid) == (3, 1, 2)
    assert [m.key for m in planner.rows()] == ["1", "1", "2", None, None, "??"]
    assert {m.reason for m in planner.rows() if m.state == "invalid"} == {"column 'id' is empty"}


def test_a_number_as_a_key_is_the_same_in_every_type(planner):
    """A column of integers that has got its first gap comes as floats: nobody may get it twice for that."""
    first = pd.DataFrame({"phone": [NUMBER, NUMBER], "name": ["a", "b"], "id": [1, 2]})
    second = pd.DataFrame({"phone": [NUMBER] * 3, "name": ["a", "b", "c"], "id": [1, None, 3]})
    assert planner.plan(first, key_column="id").planned == 2
    counts = planner.plan(second, key_column="id", slot="the next day")
    assert (counts.planned, counts.duplicate, counts.invalid) == (1, 1, 1)
    rows = [
        {"phone": NUMBER, "name": "d", "id": key} for key in ("1", decimal.Decimal("2.00"), 2.5, float("inf"))
    ]
    counts = planner.plan(rows, key_column="id", slot="the day after")
    assert (counts.planned, counts.duplicate) == (2, 2)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"to_column": "telefón"}, "no column 'telefón'; its columns are: 'phone', 'name'"),
        ({"text": "Ahoj {meno}"}, "no column 'meno'"),
        ({"text": None, "text_column": "správa"}, "no column 'správa'"),
        ({"key_column": "id"}, "no column 'id'"),
        ({"text": f"{TEXT} {{name"}, "an opening brace that is never closed"),
        ({"text": "Ahoj {name.__class__}"}, "has an attribute"),
        ({"text": "Ahoj", "text_column": "name"}, "exactly one"),
        ({"text": None, "text_column": None}, "exactly one"),
    ],
)
def test_what_is_wrong_with_the_whole_is_an_error(planner, options, named):
    assert named in planner.refuses(SourceError, GOOD, **options)
    assert planner.rows() == []
    assert planner.plan(GOOD).planned == 2


def test_on_invalid_fail(planner):
    rows = [*GOOD, *(row for row, _ in BAD[:3])]
    message = planner.refuses(PlanError, rows, on_invalid="fail")
    assert "3 invalid rows of 5" in message
    assert "row 3: phone number" in message
    assert planner.plan(GOOD, on_invalid="fail").planned == 2
    assert [m.row for m in planner.rows()] == [1, 2]


def test_an_error_names_a_few_rows_only(planner):
    rows = [{"phone": "0903", "name": f"{TEXT} {n}"} for n in range(1000)]
    assert len(planner.refuses(PlanError, rows, on_invalid="fail")) < 1500


@pytest.mark.parametrize(
    ("guards", "message"),
    [
        (Guards(max_messages=9), "max_messages: found 10 to send, allowed are 9"),
        (Guards(price_per_part=0.05, max_price=0.49), "max_price: found 0.50 for 10 parts, allowed 0.49"),
    ],
)
def test_guards(planner, guards, message):
    assert planner.refuses(PlanError, people(10), guards=guards) == message
    assert planner.plan(people(9), guards=guards).planned == 9


def test_guards_allow_what_they_allow(planner):
    guards = Guards(max_messages=10, max_parts_per_message=1, price_per_part=0.1, max_price=1.0)
    assert planner.plan(people(10), guards=guards).planned == 10


def test_a_long_message_is_invalid(planner):
    rows = [{"phone": NUMBER, "name": "x" * 150}, {"phone": NUMBER, "name": "x" * 156}]
    counts = planner.plan(rows, guards=Guards(max_parts_per_message=1))
    assert (counts.planned, counts.invalid) == (1, 1)
    assert planner.rows()[1].reason == "the text takes 2 parts, max_parts_per_message is 1"


def test_rows_that_are_not_sent_cost_nothing(planner):
    rows = [*people(5), *people(5), {"phone": "1", "name": "x"}]
    guards = Guards(max_messages=5, price_per_part=1, max_price=5)
    assert planner.plan(rows, guards=guards).parts == 5


@pytest.mark.parametrize("guards", [Guards(max_messages=2), Guards(price_per_part=1.0, max_price=2.0)])
def test_a_guard_that_is_set_between_two_tries_speaks(planner, guards):
    planner.plan(people(3))
    planner.owner = planning.begin(planner.ledger, "campaign", "slot")
    with pytest.raises(PlanError, match="max_"):
        ensure_plan(planner.ledger, planner.owner, planner.spec(people(3), guards=guards))


# --- the next try ------------------------------------------------------------------------------------------


def test_the_next_try_asks_the_source_no_more(planner):
    asked = []

    def source():
        asked.append(1)
        yield from people(3)

    planner.plan(source)
    first = planner.plan_id
    planner.plan(source)
    assert planner.plan_id == first
    assert len(asked) == 1


CHANGES = [
    {"text": "Čau {name}"},
    {"to_column": "other"},
    {"key_column": "name"},
    {"settings": MessageSettings(prefer_rcs=True)},
    {"encoding": "cp1250"},
    {"delimiter": ";"},
    {"guards": Guards(max_parts_per_message=2)},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: next(iter(c)))
@pytest.mark.parametrize("state", [None, State.PLANNED, State.CLAIMED, State.ACCEPTED, State.IN_DOUBT])
def test_a_change_before_and_after_a_claim(planner, change, state):
    rows = [{**row, "other": row["phone"]} for row in people(3)]
    planner.plan(rows)
    first = planner.plan_id
    if state:
        [message] = planner.claim(1)
        if state is not State.CLAIMED:
            sending.exchange(planner.ledger, planner.owner, [Outcome(message.id, state, "1")], 0)
    if state in (None, State.PLANNED):
        assert planner.plan(rows, **change).planned == 3
        assert planner.plan_id != first
        assert len(planner.rows()) == 3
    else:
        with pytest.raises(
            PlanError, match=r"1 of its messages were already claimed.*campaign_id of its own"
        ):
            planner.plan(rows, **change)
        # With what it was it goes on.
        planner.plan(rows)
        assert planner.plan_id == first
        assert len(planner.claim()) == 2


def test_a_file_that_changed(planner, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("phone,name\n0903123456,Ján\n")
    planner.plan(str(path))
    path.write_text("phone,name\n0903123456,Ján\n0903123457,Eva\n")
    assert planner.plan(str(path)).planned == 2


def fails_at(row):
    def source():
        for number, one in enumerate(people(20_000), 1):
            if number == row:
                raise OSError("the warehouse is gone")
            yield one

    return source


@pytest.mark.parametrize("row", [2, 5000])
def test_a_source_that_fails_half_way_leaves_nothing_to_claim(planner, row):
    with pytest.raises(OSError, match="the warehouse is gone"):
        planner.plan(fails_at(row))
    assert planner.claim() == []
    assert planner.plan(people(30)).planned == 30
    assert len(planner.rows()) == 30
    assert len(planner.claim()) == 30


def test_a_file_that_turns_bad_half_way(planner, tmp_path):
    path = tmp_path / "rows.csv"
    rows = "".join(f"09031{n:05d},č. {n}\n" for n in range(6000))
    path.write_bytes(f"phone,name\n{rows}".encode() + b"0903999999,\xff\xfe\n")
    with pytest.raises(SourceError, match=r"rows\.csv") as caught:
        planner.plan(str(path))
    assert "0903999999" not in str(caught.value)
    assert planner.claim() == []
    path.write_text(f"phone,name\n{rows}")
    assert planner.plan(str(path)).planned == 6000


def test_another_slot_adds_its_new_rows(planner):
    planner.plan(people(5))
    counts = planner.plan(people(8), slot="another")
    assert (counts.planned, counts.duplicate) == (3, 5)
    assert len(planner.claim()) == 8


def test_the_source_is_closed_when_planning_fails(planner):
    closed = []

    def source():
        try:
            yield from people(20_000)
        finally:
            closed.append(True)

    planner.owner = planning.begin(planner.ledger, "campaign", "slot")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "add", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ensure_plan(planner.ledger, planner.owner, planner.spec(source))
    assert closed


def test_settings_survive_the_ledger():
    parameters = SmsParameters.check(
        sender="Telekom", callback=True, delivery_time="2027-05-01T10:00:00", priority=3, validity=60,
        unicode=False, message_type="flash", group_id=7,
    )  # fmt: skip
    for settings in (MessageSettings(parameters, True, True), MessageSettings()):
        again = MessageSettings.from_json(json.loads(settings.to_json()))
        assert again == settings
        assert first_check(again.parameters) == first_check(settings.parameters)
        assert again.parameters.v1 == settings.parameters.v1


def test_nothing_private_is_in_the_log(planner, caplog):
    with caplog.at_level("DEBUG"):
        planner.plan([{"phone": NUMBER, "name": TEXT}, {"phone": "0903123", "name": TEXT}])
    assert "1 invalid rows of 2, among them row 2" in caplog.text
    assert NUMBER[1:] not in caplog.text
    assert "903123" not in caplog.text
    assert TEXT not in caplog.text


def test_nothing_private_is_in_a_repr(planner):
    spec = planner.spec(GOOD, text=TEXT)
    planner.plan(GOOD)
    shown = [repr(spec), repr(planner.claim()), repr(planning.PlannedRow(1, State.PLANNED, phone=NUMBER))]
    assert not any(secret in one for one in shown for secret in (NUMBER, "421903", TEXT, "Ahoj"))


def test_a_dry_run_keeps_nothing(ledger):
    spec = CampaignSpec(people(5), MessageSettings(), text="Ahoj {name}")
    with scratch_ledger() as scratch:
        folder = scratch.url.database
        counts = run_job(scratch, None, Job("campaign", "slot", spec, sends=False), None).counts
    assert counts.planned == 5
    assert not Path(folder).parent.exists()


def test_a_try_that_fails_while_it_plans_is_over(ledger):
    spec = CampaignSpec(fails_at(3), MessageSettings(), text="Ahoj {name}")
    with pytest.raises(OSError, match="gone"):
        run_job(ledger, None, Job("campaign", "slot", spec), None)
    with ledger.reading() as connection:
        alive = "SELECT count(*) FROM telekom_sms_owner WHERE ended_at IS NULL"
        assert connection.exec_driver_sql(alive).scalar() == 0


def test_a_plan_is_written_in_chunks(planner, monkeypatch):
    sizes = []
    add = planning.add
    monkeypatch.setattr(planning, "add", lambda *a: (sizes.append(len(a[3])), add(*a))[1])
    planner.plan(people(4500))
    assert sizes == [2000, 2000, 500]
