"""What the page shows and does, through Airflow's own API server."""

from __future__ import annotations

import logging
import re
import threading
import time
from dataclasses import dataclass, field
from html.parser import HTMLParser

import pytest

from airflow_provider_telekom_sms.exceptions import LedgerError
from airflow_provider_telekom_sms.ledger import actions, overview, planning, schema, sending
from airflow_provider_telekom_sms.ledger.planning import PlannedRow
from airflow_provider_telekom_sms.ledger.sending import Outcome
from airflow_provider_telekom_sms.ledger.store import Ledger, State
from airflow_provider_telekom_sms.ui import desk as desks
from airflow_provider_telekom_sms.ui import forms, shown, source
from airflow_provider_telekom_sms.ui.mount import CampaignsPage
from tests.ui.conftest import PREFIX
from tests.ui.ledgers import BEGAN, write

VOID = {"meta", "link", "input", "br"}


@dataclass
class Markup(HTMLParser):
    """A page, read; ``shape`` is what no text may change."""

    html: str
    shape: list = field(default_factory=list)
    open: list = field(default_factory=list)
    addresses: list = field(default_factory=list)
    ids: list = field(default_factory=list)
    text: str = ""

    def __post_init__(self):
        super().__init__()
        self.feed(self.html)
        self.close()
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))

    def handle_starttag(self, tag, attrs):
        names = dict(attrs)
        assert not any(name.startswith("on") or name == "style" for name in names)
        assert tag != "script" or "src" in names
        self.shape.append((tag, tuple(sorted(names)), names.get("class", "")))
        self.addresses += [names[name] for name in ("href", "src", "action") if name in names]
        self.ids += [names["id"]] if "id" in names else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.text += " "

    def handle_data(self, data):
        if not self.open or self.open[-1] != "script":
            self.text += data

    def handle_comment(self, data):
        raise AssertionError("a comment")


def settled(site, path, role="admin"):
    """Load a page until nothing on it is being counted."""
    end = time.monotonic() + 20
    while (answer := site.get(path, role)) and "http-equiv" in answer.text:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert answer.status_code == 200, answer.text
    return answer.text


NASTY = [
    "<script>alert(1)</script>' onmouseover='alert(1)",
    '"><img src=x onerror=alert(1)>{{ 7*7 }}{% raw %}',
    "javascript:alert(1)",
    "</title></bdi></textarea><svg onload=alert(1)>&lt;b&gt;&#x27;",
    "\u202egnp.exe \u2066\u2069 אבג 🎉 Žluťoučký & kôň \x07\x1b[31m\x7f\ufffe",
    "../../..//evil.test/?a=b#c" + "x" * 10_000,
]


def nasty_campaign(desk, word):
    """A campaign in which every text that somebody else may choose is the same."""
    write(desk.ledger, [])
    values = {"name": word, "name_hash": schema.name_hash(word)}
    with desk.ledger.transaction() as c:
        c.execute(schema.campaign.update().where(schema.campaign.c.id == 1).values(values))
        c.execute(
            schema.plan.update()
            .where(schema.plan.c.campaign_id == 1)
            .values(
                slot=word, key_column=word,
                summary=overview.json.dumps(
                    {"samples": [{"row": 1, "to": word, "text": word}], "send_window": word, "channels": word}
                ),
            )
        )  # fmt: skip
        common = {"campaign_id": 1, "plan_id": 10, "phone": word, "text": word, "key": word, "reason": word}
        for row, state in enumerate(State, 1):
            common |= {"row": row, "state": state.value, "message_id": word, "state_at": BEGAN}
            code = "UNDELIVERABLE" if state == State.ACCEPTED else None
            final = {"delivery_code": code, "is_final": code is not None, "owner_id": 1}
            c.execute(schema.message.insert().values({**common, **final}))
        owner = {"campaign_id": 1, "slot": word, "started_at": BEGAN, "lease_until": 2**42}
        c.execute(schema.owner.insert().values(id=1, **owner))
        deed = {"at": BEGAN, "campaign": word, "action": "pause", "actor": word, "reason": word}
        c.execute(schema.action.insert().values(deed))
        tap = {"received_at": BEGAN, "campaign_id": 1, "payload": word, "phone": word, "text": word}
        for number, kind in enumerate(("postback", "inbound")):
            c.execute(
                schema.callback.insert().values(**tap, kind=kind, hash=b"%16d" % number, postback_data=word)
            )


PATHS = (
    "/",
    "/c/1",
    "/c/1/rows",
    "/c/1/rows?numbers=1",
    "/c/1/doubts",
    "/c/1/doubts?numbers=1",
    "/c/1/change",
)


@pytest.mark.parametrize("word", NASTY, ids=lambda word: word[:12].encode("unicode_escape").decode())
def test_no_text_is_taken_for_markup(file_site, file_desk, word):
    shapes = {}
    for text in ("tame word " * (max(1, len(word) // 10)), word):
        nasty_campaign(file_desk, text)
        for path in PATHS:
            markup = Markup(settled(file_site, path))
            assert shapes.setdefault(path, markup.shape) == markup.shape
            ours = re.compile(
                rf"{PREFIX}/(static/[a-z.-]+(\?[0-9a-f]{{12}})?|c/[1-3][?a-z0-9=&_./A-Z]*|\?[a-z0-9=&]*)?"
            )
            assert [to for to in markup.addresses if not ours.fullmatch(to)] == []
    # It is shown as it is, as far as it can be.
    assert shown.clean(word)[:40].strip() in Markup(settled(file_site, "/")).text
    file_desk.sql("DELETE FROM telekom_sms_action")
    for path, fields in {
        "/c/1/doubts": {"which": word, "decision": word, "message_id": word, "reason": word, "row": word},
        "/c/1/change": {"change": word, "reason": word},
        "/?q": {},
    }.items():
        if fields:
            answer = file_site.post(path, fields)
            assert answer.status_code == 409
        else:
            answer = file_site.client().get(f"{PREFIX}/", params={"q": word, "before": word})
        Markup(answer.text)
        assert "alert(1)>" not in answer.text


def test_no_text_of_a_message_is_shown(site, desk):
    owner = desk.begin("campaign")
    plan = planning.begin_plan(desk.ledger, owner, "print", "{}", fallback=False)
    row = PlannedRow(1, State.PLANNED, b"1" * 16, "key-of-jana", "421903000111", "Tajný text", 1)
    planning.add(desk.ledger, owner, plan, [row])
    planning.finish_plan(
        desk.ledger, owner, plan, {"samples": [{"row": 1, "to": "+4219••••0111", "text": "T••••"}]}
    )
    for path in PATHS:
        text = settled(site, path)
        assert "Tajný" not in text
        assert ("key-of-jana" in text) is (path == "/c/1/rows?numbers=1")
        assert ("903 000 111" in text) is (path == "/c/1/rows?numbers=1")
        assert "903000111" not in text
    assert "T••••" in settled(site, "/c/1")


# --- what is shown ------------------------------------------------------------------------------------------


def test_a_campaign(site, desk):
    owner = desk.planned(10, campaign="reminders")
    claimed = sending.exchange(desk.ledger, owner, [], 9).claimed
    outcomes = [Outcome(m.id, State.ACCEPTED, message_id=f"m{m.id}", parts=2) for m in claimed[:5]]
    outcomes += [Outcome(m.id, State.REJECTED, reason="WRONG 421903000111 is wrong") for m in claimed[5:7]]
    outcomes += [Outcome(m.id, State.IN_DOUBT, reason="no reply") for m in claimed[7:8]]
    sending.exchange(desk.ledger, owner, outcomes, 0)
    codes = ["DELIVERED", "READ", "EXPIRED", "SENT", "UNKNOWN"]
    for m, code in zip(claimed, codes, strict=False):
        desk.sql(
            "UPDATE telekom_sms_message SET delivery_code = ?, is_final = ?, delivered_at = state_at "
            "WHERE id = ?",
            code, code != "SENT", m.id,
        )  # fmt: skip
    text = " ".join(Markup(settled(site, "/c/1")).text.split())
    for said in (
        "sending", "1 message in doubt", "Planned 10 100 %", "Accepted 5 50.0 %",
        "Delivered 2 20.0 % 1 of them read", "Failed 3 30.0 % 2 rejected, 1 not delivered",
        "1 to be sent 1 being sent 1 on the way 1 in doubt 1 unknown",
        "WRONG … is wrong 2 66.7 %", "Expired: its time was over before it could be delivered 1 33.3 %",
        "Parts sent 10 of 15", "No price_per_part was given", "at work slot",
    ):  # fmt: skip
        assert said in text
    listed = " ".join(Markup(settled(site, "/")).text.split())
    assert "reminders" in listed
    assert "10 messages, 2 to be sent 20.0 % 3 1" in listed


def test_rows_are_paged(site, desk):
    desk.planned(120, campaign="campaign")
    seen, path = [], "/c/1/rows?show=planned"
    while path:
        text = site.get(path).text
        seen += re.findall(r'data-name="Row">(\d+)<', text)
        further = re.search(r'href="[^"]*(/c/1/rows\?show=planned&amp;after=[0-9.]+)">Next', text)
        path = further and further[1].replace("&amp;", "&")
    assert [int(row) for row in seen] == list(range(1, 121))
    assert "No further message" in site.get("/c/1/rows?after=9.9.9").text
    for nonsense in ("after=x", "after=1.2", "after=99999999999999999999.1.1", "show=none", "show='"):
        assert len(re.findall('data-name="Row"', site.get(f"/c/1/rows?{nonsense}").text)) == 50


def test_campaigns_are_paged(site, desk):
    for number in range(60):
        desk.begin(f"c{number}")
    first = settled(site, "/")
    assert re.findall(r"<bdi>(c\d+)</bdi>", first) == [f"c{n}" for n in range(59, 9, -1)]
    older = re.search(r'href="[^"]*(/\?before=\d+)">Older', first)[1]
    assert re.findall(r"<bdi>(c\d+)</bdi>", settled(site, older)) == [f"c{n}" for n in range(9, -1, -1)]
    assert re.findall(r"<bdi>(c\d+)</bdi>", settled(site, "/?q=C42")) == ["c42"]
    assert "No campaign found" in site.get("/?q=none").text


def test_a_link_by_name_leads_to_a_campaign(site, desk):
    name = "dag/task/manual__2026-01-05T06:12:09+00:00/ž?&#"
    desk.begin("other")
    desk.begin(name)
    answer = site.get("/by-name", params={"id": name})
    assert (answer.status_code, answer.headers["location"]) == (302, f"{PREFIX}/c/2")
    for params in ({"id": "none"}, {}):
        answer = site.get("/by-name", params=params)
        assert answer.status_code == 404
        assert "holds no such campaign" in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/c/9", f"/c/{2**63}", f"/c/{'9' * 5_000}", "/c/٣", "/c/9/rows", "/c/9/doubts", "/c/x", "/nowhere",
    ],
    ids=lambda path: path[:12],
)  # fmt: skip
def test_what_is_not_there(site, desk, path):
    assert site.get(path).status_code == 404
    assert "<h1>Not found</h1>" in site.get(path).text


# --- what is done -------------------------------------------------------------------------------------------


def in_doubt(desk, number=3):
    owner = desk.planned(number, campaign="campaign")
    claimed = sending.exchange(desk.ledger, owner, [], number).claimed
    sending.exchange(
        desk.ledger, owner, [Outcome(m.id, State.IN_DOUBT, reason="no reply") for m in claimed], 0
    )
    return [m.id for m in claimed]


@pytest.mark.parametrize(
    ("decision", "state", "told"),
    [
        ("sent", "accepted", "2 messages counted as accepted"),
        ("resend", "planned", "2 messages will be sent again"),
        ("drop", "rejected", "2 messages counted as rejected"),
    ],
)
def test_chosen_messages_are_settled(site, desk, decision, state, told):
    ids = in_doubt(desk)
    fields = {"which": "chosen", "row": ids[:2], "decision": decision, "reason": "looked it up: 0903 000 111"}
    seal = site.seal("/c/1/doubts", "user")
    client = site.client("user")
    answer = client.post(f"{PREFIX}/c/1/doubts", data={**fields, "seal": seal})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{PREFIX}/c/1")
    assert [s for _, s in desk.states().items()] == [state, state, "in_doubt"]
    assert set(desk.sql("SELECT action, actor, reason FROM telekom_sms_action")) == {
        (f"settle: {decision}", "ursula", "looked it up: +4219••••0111")
    }
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    # It is told once.
    assert told in client.get(answer.headers["location"]).text
    assert told not in client.get(answer.headers["location"]).text
    # Sent twice, it does nothing more and says why.
    again = client.post(f"{PREFIX}/c/1/doubts", data={**fields, "seal": seal})
    assert again.status_code == 409
    assert "only what is in doubt can be settled" in again.text
    assert desk.sql("SELECT count(*) FROM telekom_sms_action") == [(2,)]


def test_all_are_settled_but_only_those_that_were_seen(site, desk):
    in_doubt(desk, 60)
    fields = {"which": "all", "decision": "drop", "reason": "so", **site.hidden("/c/1/doubts")}
    # One is settled by somebody else, and another one comes: there are as many as before.
    owner = desk.begin(slot="other")
    desk.plan(owner, 1, first=61)
    [message] = sending.exchange(desk.ledger, owner, [], 1).claimed
    sending.exchange(desk.ledger, owner, [Outcome(message.id, State.IN_DOUBT, reason="no reply")], 0)
    actions.settle(desk.ledger, "campaign", "sent", rows=[1], actor="me", reason="so")
    answer = site.post("/c/1/doubts", fields)
    assert answer.status_code == 409
    assert "Meanwhile other messages of the campaign are in doubt, 60 in all" in answer.text
    assert 'name="reason" value="so"' in answer.text
    assert desk.states()[2] == desk.states()[61] == "in_doubt"
    assert site.post("/c/1/doubts", {**fields, "expected": ""}).status_code == 409
    assert site.post("/c/1/doubts", {**fields, **site.hidden("/c/1/doubts")}).status_code == 303
    assert set(desk.states().values()) == {"accepted", "rejected"}


def test_what_a_dead_try_had_claimed_is_settled_with_all(site, desk):
    owner = desk.planned(3, campaign="campaign")
    sending.exchange(desk.ledger, owner, [], 2)
    desk.sql("UPDATE telekom_sms_owner SET lease_until = 1")
    text = " ".join(Markup(settled(site, "/c/1")).text.split())
    assert "2 messages in doubt" in text
    assert "1 to be sent 2 in doubt" in text
    assert "being sent" not in text
    assert "2 in doubt or unknown, 1 to be sent" in settled(site, "/")
    site.post("/c/1/doubts", {"which": "all", "decision": "drop", "reason": "so"})
    assert list(desk.states().values()) == ["rejected", "rejected", "planned"]


def test_a_message_id_is_for_one(site, desk):
    ids = in_doubt(desk)
    fields = {"which": "chosen", "decision": "sent", "message_id": "4711", "reason": "so"}
    for rows in (ids[:2], []):
        answer = site.post("/c/1/doubts", {**fields, "row": rows})
        assert answer.status_code == 409
    answer = site.post("/c/1/doubts", {**fields, "which": "all"})
    assert (answer.status_code, "goes with a single message" in answer.text) == (409, True)
    assert set(desk.states().values()) == {"in_doubt"}
    assert site.post("/c/1/doubts", {**fields, "row": ids[:1]}).status_code == 303
    assert desk.row(1)["message_id"] == "4711"


def test_rows_of_the_same_number_in_two_plans(site, desk):
    first = in_doubt(desk, 2)
    owner = desk.begin(slot="other")
    plan = planning.begin_plan(desk.ledger, owner, "print", "{}", fallback=False)
    planning.add(
        desk.ledger, owner, plan, [PlannedRow(1, State.PLANNED, b"x" * 16, None, "421903000222", "Ahoj", 1)]
    )
    planning.finish_plan(desk.ledger, owner, plan)
    [message] = sending.exchange(desk.ledger, owner, [], 1).claimed
    sending.exchange(desk.ledger, owner, [Outcome(message.id, State.IN_DOUBT, reason="no reply")], 0)
    fields = {"which": "chosen", "row": [first[0], message.id], "decision": "drop", "reason": "so"}
    assert site.post("/c/1/doubts", fields).status_code == 303
    assert desk.sql("SELECT id, state FROM telekom_sms_message ORDER BY id") == [
        (first[0], "rejected"), (first[1], "in_doubt"), (message.id, "rejected"),
    ]  # fmt: skip


def test_messages_of_another_campaign_are_left_alone(site, desk):
    in_doubt(desk)
    other = desk.planned(1, campaign="other")
    [message] = sending.exchange(desk.ledger, other, [], 1).claimed
    sending.exchange(desk.ledger, other, [Outcome(message.id, State.IN_DOUBT, reason="no reply")], 0)
    site.post("/c/1/doubts", {"which": "chosen", "row": [message.id], "decision": "drop", "reason": "so"})
    assert desk.sql("SELECT count(*) FROM telekom_sms_message WHERE state = 'in_doubt'") == [(4,)]


def test_pause_resume_cancel(site, desk):
    desk.planned(2, campaign="campaign")
    for change, state, said in (
        ("pause", "paused", "is paused"),
        ("resume", "active", "is resumed"),
        ("cancel", "cancelled", "is cancelled"),
    ):
        client = site.client()
        seal = site.seal("/c/1/change")
        for _ in range(2):  # twice is as good as once
            answer = client.post(
                f"{PREFIX}/c/1/change", data={"seal": seal, "change": change, "reason": "so"}
            )
            assert answer.status_code == 303
        assert said in client.get(f"{PREFIX}/c/1").text
        assert desk.sql("SELECT state FROM telekom_sms_campaign") == [(state,)]
    assert desk.sql("SELECT action, actor FROM telekom_sms_action ORDER BY id") == [
        ("pause", "ada"), ("resume", "ada"), ("cancel", "ada"),
    ]  # fmt: skip
    answer = client.post(f"{PREFIX}/c/1/change", data={"seal": seal, "change": "resume", "reason": "so"})
    assert answer.status_code == 409
    assert "was cancelled by ada: so" in answer.text
    assert "2 not sent" in " ".join(Markup(settled(site, "/c/1")).text.split())


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"change": "pause"},
        {"change": "pause", "reason": "  "},
        {"change": "pause", "reason": "x" * 401},
        {"change": "x", "reason": "so"},
    ],
)
def test_a_form_that_lacks_something(site, desk, fields):
    desk.planned(1)
    assert site.post("/c/1/change", fields).status_code == 409
    assert desk.sql("SELECT state FROM telekom_sms_campaign") == [("active",)]


def test_forms_that_are_none(site, desk):
    desk.planned(1)
    client, url = site.client(), f"{PREFIX}/c/1/change"
    assert client.post(url, content=b"x" * 200_000).status_code == 413
    assert client.post(url, content=b"\xff\xfe=1").status_code == 400
    assert client.post(url, content="&".join(f"a{n}=1" for n in range(600))).status_code == 400


# --- ledgers that cannot be shown ---------------------------------------------------------------------------


def test_no_ledger_yet(airflow_app, tmp_path):
    from sqlalchemy.engine import URL

    from tests.ui.conftest import Site

    path = tmp_path / "ledger.db"
    site = Site(airflow_app, URL.create("sqlite", database=str(path)))
    for page in PATHS:
        answer = site.get(page, "viewer")
        assert answer.status_code == 200
        assert "No campaign yet" in answer.text
    assert list(tmp_path.iterdir()) == []
    Ledger(site.url).close()
    assert "It appears here when a task plans its first message" in site.get("/", "viewer").text
    path.unlink()
    assert "There is no ledger" in site.get("/").text
    assert not path.exists()


def test_a_ledger_of_another_version(site, desk):
    desk.sql("UPDATE telekom_sms_ledger SET schema_version = schema_version - 1")
    answer = site.get("/", "viewer")
    assert answer.status_code == 503
    assert "brings them up to date" in answer.text
    desk.sql("UPDATE telekom_sms_ledger SET schema_version = schema_version + 1")
    assert site.get("/").status_code == 200


def test_a_server_that_is_away(airflow_app, postgres, caplog):
    from tests.ui.conftest import Site

    site = Site(airflow_app, postgres.database().set(port=1))
    answer = site.get("/c/1/doubts", "viewer")
    assert answer.status_code == 503
    assert "The ledger cannot be read" in answer.text
    assert "Its reason is in the log." in answer.text
    assert "127.0.0.1" in site.get("/").text
    assert "127.0.0.1" in caplog.text
    assert "Traceback" not in answer.text + site.get("/").text
    for password in ("ledger-password", "ledger_password"):
        assert password not in site.get("/").text + caplog.text
    site.url = postgres.database()
    Ledger(site.url).close()
    assert site.get("/").status_code == 200


def test_a_configuration_that_cannot_be_used(airflow_app, monkeypatch):
    from airflow_provider_telekom_sms.ui.app import build
    from tests.ui.conftest import Site, page_of

    site = Site(airflow_app, None)
    monkeypatch.setenv("AIRFLOW__TELEKOM_SMS__LEDGER_CONN_ID", "no_such_connection")
    page_of(airflow_app)._app = build()
    answer = site.get("/")
    assert answer.status_code == 503
    assert "no_such_connection" in answer.text
    assert "no_such_connection" not in site.get("/", "viewer").text


def test_what_no_database_takes_is_looked_for_all_the_same(site, desk):
    desk.begin("campaign")
    for text in ("%00", "%ED%A0%80"):
        answer = site.get(f"/?q={text}", "viewer")
        assert (answer.status_code, "No campaign found" in answer.text) == (200, True)
        assert site.get(f"/by-name?id={text}", "viewer").status_code == 404


def test_trouble_of_the_ledger_forgets_no_figures(site, desk, monkeypatch):
    desk.planned(3, campaign="campaign")
    settled(site, "/c/1")

    def away(*_, **__):
        raise LedgerError("<Ledger postgresql://ledger@db-host>: away")

    with monkeypatch.context() as patch:
        patch.setattr(overview, "campaign", away)
        assert site.get("/c/1").status_code == 503
    monkeypatch.setattr(overview, "figures", away)
    monkeypatch.setattr(overview, "details", away)
    assert "Planned" in site.get("/c/1").text


@pytest.mark.parametrize("path", ["/c/1/doubts", "/c/1/change"])
def test_who_may_not_see_where_the_ledger_is_does_not_learn_it_by_acting(site, desk, monkeypatch, path):
    in_doubt(desk)

    def away(*_, **__):
        raise LedgerError("<Ledger postgresql://ledger@db-host>: away")

    monkeypatch.setattr(actions, "settle", away)
    monkeypatch.setitem(forms._CHANGES, "pause", away)
    fields = {"which": "all", "decision": "drop", "change": "pause", "reason": "so"}
    for role, told in (("user", "Its reason is in the log."), ("admin", "db-host")):
        answer = site.post(path, fields, role)
        assert (answer.status_code, told in answer.text) == (503, True)
        assert ("db-host" in answer.text) is (role == "admin")
        assert "It may still be done" in answer.text


# --- counting in the background -----------------------------------------------------------------------------


def test_what_takes_long_to_count_is_not_waited_for(site, desk, monkeypatch):
    desk.planned(3, campaign="campaign")
    counting = threading.Event()
    count = overview.figures

    def slow(ledger, number):
        counting.wait(20)
        return count(ledger, number)

    monkeypatch.setattr(overview, "figures", slow)
    began = time.monotonic()
    assert "Counting…" in site.get("/c/1").text
    assert "counting…" in site.get("/").text
    assert time.monotonic() - began < 5
    counting.set()
    assert "Planned" in settled(site, "/c/1")
    assert "3 messages" in settled(site, "/")


def test_what_was_done_is_shown_at_once(site, desk):
    ids = in_doubt(desk)
    assert "3 messages in doubt" in settled(site, "/c/1")
    site.post("/c/1/doubts", {"which": "chosen", "row": ids[:1], "decision": "drop", "reason": "so"})
    text = settled(site, "/c/1")
    assert "2 messages in doubt" in text
    assert "1 rejected" in text


def kept(**options):
    from concurrent.futures import ThreadPoolExecutor

    return source.Kept(ThreadPoolExecutor(1), **{"is_last": lambda value: False, **options})


def test_what_is_fresh_is_not_counted_again(monkeypatch):
    monkeypatch.setattr(source, "YOUNGEST", 0.2)
    calls = []
    one = kept()

    def find_out():
        calls.append(1)
        return len(calls)

    assert [one.get(1, "a", find_out) for _ in range(3)] == [1, 1, 1]
    assert one.get(1, "b", find_out) == 2
    time.sleep(0.25)
    # A little old, it is shown while it is counted anew.
    assert one.get(1, "b", find_out) == 2
    time.sleep(0.1)
    assert one.get(1, "b", find_out) == 3
    time.sleep(0.9)
    # Older, it is waited for.
    assert one.get(1, "b", find_out) == 4


def test_what_is_finished_is_kept(monkeypatch):
    monkeypatch.setattr(source, "YOUNGEST", 0.0)
    one, calls = kept(is_last=lambda value: True), []
    for _ in range(3):
        one.get(1, "a", lambda: calls.append(1) or 1)
        time.sleep(0.01)
    assert len(calls) == 1


def test_many_who_wait_count_once_and_an_error_reaches_them():
    one, calls, go = kept(), [], threading.Event()

    def find_out():
        calls.append(1)
        go.wait(10)
        raise LedgerError("away")

    assert one.get(1, "a", find_out, 0.01) is None
    assert one.get(1, "a", find_out, 0.01) is None
    assert len(calls) == 1
    go.set()
    for _ in range(2):
        with pytest.raises(LedgerError, match="away"):
            one.get(1, "a", find_out, 5)


def test_only_so_many_are_kept(monkeypatch):
    monkeypatch.setattr(source, "MOST", 10)
    one = kept()
    for number in range(50):
        one.get(number, "a", lambda: 1)
    assert len(one._kept) <= 10
    assert one._running == {}


def test_too_many_at_once_are_told_so(site, desk, monkeypatch):
    monkeypatch.setattr(desks, "WAITING", 0)
    answer = site.get("/")
    assert answer.status_code == 503
    assert "Too many" in answer.text


def test_a_ledger_that_hangs_does_not_hold_up_airflow(site, desk, monkeypatch):
    monkeypatch.setattr(desks, "LONGEST", 0.2)
    go = threading.Event()
    monkeypatch.setattr(overview, "campaigns", lambda *a, **b: go.wait(10))
    answer = site.get("/")
    go.set()
    assert answer.status_code == 503
    assert "takes too long" in answer.text


def test_a_form_that_hangs_may_still_be_done_and_holds_up_nobody_who_looks(site, desk, monkeypatch):
    ids = in_doubt(desk)
    hidden = site.hidden("/c/1/doubts")
    monkeypatch.setattr(desks, "LONGEST", 0.2)
    go = threading.Event()
    monkeypatch.setattr(forms, "settle", lambda *_: go.wait(20) and "drop-1")
    fields = {"which": "chosen", "row": ids, "decision": "drop", "reason": "so", **hidden}
    try:
        answers = [site.post("/c/1/doubts", fields) for _ in range(desks.AT_ONCE + 1)]
        monkeypatch.setattr(desks, "LONGEST", 20.0)
        assert site.get("/c/1/rows").status_code == 200
    finally:
        go.set()
    for answer in answers:
        assert answer.status_code == 503
        assert "It may still be done" in answer.text


# --- logs ---------------------------------------------------------------------------------------------------


def test_no_log_holds_a_number_a_text_or_a_search(site, desk, caplog, capsys):
    ids = in_doubt(desk)
    caplog.set_level(logging.INFO)
    for path in (*PATHS, "/?q=421903123456", "/c/1/rows?numbers=1&show=in_doubt", "/c/9?q=0903123456"):
        settled(site, path) if "c/9" not in path else site.get(path)
    fields = {"which": "chosen", "row": ids[:1], "decision": "drop", "reason": "asked 0903 123 456"}
    site.post("/c/1/doubts", fields)
    site.post("/c/1/doubts", fields)
    # What the test's own client says is no log of ours.
    heard = [record.getMessage() for record in caplog.records if not record.name.startswith("httpx")]
    said = "".join([*heard, *capsys.readouterr()])
    assert "ada looks at whole numbers of campaign 1" in said
    for hidden in ("9030", "903123456", "903 123", "Ahoj", "numbers=1"):
        assert hidden not in said


async def test_servers_find_no_query_to_log():
    page, seen = CampaignsPage(), []

    async def app(scope, receive, send):
        seen.append(scope["query_string"])

    page._app = app
    scope = {"type": "http", "query_string": b"q=421903123456"}
    await page(scope, None, None)
    assert (seen, scope["query_string"]) == ([b"q=421903123456"], b"")


# --- words --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "of", "said"),
    [
        (0, 0, "0 %"),
        (0, 5, "0 %"),
        (5, 5, "100 %"),
        (999_999, 1_000_000, ">99.9 %"),
        (1, 1_000_000, "<0.1 %"),
        (1, 3, "33.3 %"),
    ],
)
def test_shares(number, of, said):
    assert shown.share(number, of) == said


@pytest.mark.parametrize("at", [-1, 0, 1_767_600_000_000, 2**62])
def test_any_time_can_be_shown(at):
    assert shown.local(at)
    assert shown.iso(at)


@pytest.mark.parametrize(
    ("states", "codes", "status"),
    [
        ({"accepted": 2, "rejected": 1}, {"DELIVERED": 1}, ("done", "good")),
        ({"accepted": 1, "rejected": 58}, {}, ("done", "bad")),
        ({"accepted": 2}, {"UNKNOWN": 2}, ("done", "open")),
        ({"invalid": 2}, {}, ("done", "open")),
        ({}, {}, ("empty", "open")),
    ],
)
def test_only_what_arrived_is_good(states, codes, status):
    campaign = overview.Campaign(1, "c", "active", BEGAN, 0, 0, 0, 0, ())
    accepted = states.get("accepted", 0)
    undelivered = {"EXPIRED": accepted} if not codes and accepted else {}
    unknown = codes.get("UNKNOWN", 0)
    codes = {**codes, "READ": accepted - 1} if "DELIVERED" in codes else codes
    figures = overview.Figures(BEGAN, 0, states, codes, undelivered, unknown)
    assert shown.status(campaign, figures) == status


def test_only_what_can_be_listed_is_a_link():
    figures = overview.Figures(BEGAN, 0, {"accepted": 2}, {}, {"EXPIRED": 1, "NEW_ONE": 1})
    details = overview.Details(BEGAN, 0, None, [], [], None, None, [], 0, 0, 0, [])
    assert {one.text: one.shown for one in shown.reasons(figures, details)} == {
        "NEW_ONE": "", shown._MEANINGS["EXPIRED"]: "EXPIRED",
    }  # fmt: skip


def test_every_action_has_its_words():
    assert set(forms._SETTLED) == set(actions.DECISIONS)
    assert set(forms._CHANGED) == set(forms._CHANGES)
    for nonsense in ("", "sent", "sent-", "sent-x", "sent-99999999999", "sent-٣", "<b>", "pause-1"):
        assert forms.in_words(nonsense) == ""
