"""Who gets in, who may do what, and whose forms are believed."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from airflow.providers.common.compat.sdk import conf

from airflow_provider_telekom_sms.ledger import sending
from airflow_provider_telekom_sms.ledger.sending import Outcome
from airflow_provider_telekom_sms.ledger.store import State
from airflow_provider_telekom_sms.ui import access
from airflow_provider_telekom_sms.ui.access import Seal
from tests.ui.conftest import HOST, PREFIX, USERS

NAME = "secret-campaign"
PAGES = ("/", "/c/1", "/c/1/rows", "/c/1/doubts", "/c/1/change", f"/by-name?id={NAME}")
FORMS = ("/c/1/doubts", "/c/1/change")
SETTLE = {"which": "all", "decision": "drop", "reason": "nobody got it"}
PAUSE = {"change": "pause", "reason": "wait"}
WHOLE = ("421903000001", "+421 903 000 001")


@pytest.fixture
def doubtful(desk):
    """A campaign of three messages, two of them in doubt."""
    owner = desk.planned(3, campaign=NAME)
    claimed = sending.exchange(desk.ledger, owner, [], 3).claimed
    outcomes = [Outcome(m.id, State.IN_DOUBT, reason="no reply") for m in claimed[:2]]
    outcomes.append(Outcome(claimed[2].id, State.ACCEPTED, message_id="77"))
    sending.exchange(desk.ledger, owner, outcomes, 0)
    return [m.id for m in claimed]


def unchanged(desk):
    states = [state for _, state in desk.sql("SELECT row, state FROM telekom_sms_message ORDER BY id")]
    assert states == ["in_doubt", "in_doubt", "accepted"]
    assert desk.sql("SELECT state FROM telekom_sms_campaign") == [("active",)]
    assert desk.sql("SELECT count(*) FROM telekom_sms_action") == [(0,)]
    return True


@pytest.mark.parametrize("path", PAGES)
def test_who_has_not_logged_in_is_sent_to_the_login(site, doubtful, path):
    for token in (None, "nonsense"):
        client = site.client(None)
        if token:
            client.cookies.set("_token", token)
        answer = client.get(PREFIX + path)
        assert answer.status_code == 302
        assert NAME not in answer.text
        assert answer.headers["location"].startswith("/api/v2/auth/login?next=%2Ftelekom-sms-campaigns")
        assert answer.headers["cache-control"] == "no-store"
    answer = site.client(None).get(PREFIX + path, headers={"accept": "application/json"})
    assert (answer.status_code, NAME in answer.text) == (401, False)


def test_the_login_leads_back(site, doubtful):
    """Airflow follows only what it thinks is safe."""
    client = site.client(None)
    to = client.get(f"{PREFIX}/c/1?numbers=1").headers["location"]
    assert "numbers" not in to
    login = client.get(to)
    assert login.status_code == 307
    assert unquote(login.headers["location"]).endswith("login?next=/telekom-sms-campaigns/c/1")


@pytest.mark.parametrize("path", FORMS)
def test_a_form_without_login_changes_nothing(site, desk, doubtful, path):
    answer = site.client(None).post(PREFIX + path, data={**SETTLE, **PAUSE}, headers={"origin": HOST})
    assert answer.status_code == 401
    assert unchanged(desk)


@pytest.mark.parametrize(
    ("role", "acts", "sees"),
    [("viewer", False, False), ("user", True, False), ("op", True, True), ("admin", True, True)],
)
def test_roles(site, desk, doubtful, role, acts, sees):
    for path in PAGES[:-1]:
        answer = site.get(path, role)
        assert answer.status_code == 200
        assert NAME in answer.text
        assert not any(number in answer.text for number in WHOLE)
    for path in ("/c/1/rows", "/c/1/doubts"):
        text = site.get(f"{path}?numbers=1", role).text
        assert (WHOLE[1] in text) is sees
        assert ("numbers=1" in site.get(path, role).text) is sees
    for path, fields in zip(FORMS, (SETTLE, PAUSE), strict=True):
        assert ("<button class=" in site.get(path, role).text) is acts
        if acts:
            assert site.post(path, fields, role).status_code == 303
        else:
            seal = Seal(str(conf.get("api", "secret_key"))).make(USERS[role], "campaign 1")
            answer = site.post(path, {**fields, "seal": seal}, role)
            assert answer.status_code == 403
            assert "not change them" in answer.text
            assert unchanged(desk)
    assert desk.sql("SELECT state FROM telekom_sms_campaign") == [("paused" if acts else "active",)]


def test_who_may_not_see_runs_sees_nothing(site, doubtful, monkeypatch):
    from airflow.api_fastapi.app import get_auth_manager

    monkeypatch.setattr(type(get_auth_manager()), "is_authorized_dag", lambda self, **asked: False)
    for path in PAGES:
        answer = site.get(path)
        assert (answer.status_code, NAME in answer.text) == (403, False)
    assert "runs of all DAGs" in answer.text


def test_who_may_see_some_dags_only_sees_nothing(site, doubtful, monkeypatch):
    """That of FAB asks for one DAG, and any will do, unless it is told of which."""
    from airflow.api_fastapi.app import get_auth_manager

    def asked_of(methods):
        return lambda self, *, method, details=None, **_: details is None or method in methods

    manager = type(get_auth_manager())
    monkeypatch.setattr(manager, "is_authorized_dag", asked_of([]))
    assert [site.get(path).status_code for path in PAGES] == [403] * len(PAGES)
    monkeypatch.setattr(manager, "is_authorized_dag", asked_of(["GET"]))
    assert site.get("/c/1/doubts").status_code == 200
    assert "<button class=" not in site.get("/c/1/doubts").text


HEADERS = [
    {"origin": "https://evil.test"},
    {"origin": "http://["},
    {"origin": "null"},
    {"origin": f"{HOST}.evil.test"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "none"},
]


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("headers", HEADERS, ids=str)
def test_a_form_from_elsewhere_is_refused(site, desk, doubtful, path, headers):
    answer = site.post(path, {**SETTLE, **PAUSE}, **headers)
    assert answer.status_code == 403
    assert "Nothing was changed" in answer.text
    assert unchanged(desk)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-origin", "origin": "null"},
        {"x-forwarded-host": "out.test", "origin": "https://out.test"},
    ],
    ids=str,
)
def test_a_form_through_a_proxy_is_taken(site, doubtful, headers):
    assert site.post("/c/1/change", PAUSE, **headers).status_code == 303


def test_a_seal_is_for_one_user_one_campaign_and_a_while(site, desk, doubtful, monkeypatch):
    desk.planned(1, campaign="another")
    settle = {**SETTLE, **site.hidden("/c/1/doubts", "user")}
    right = settle["seal"]
    made_at, _, mark = right.partition(".")
    wrong = {
        "missing": "",
        "another user's": site.seal("/c/1/doubts", "admin"),
        "another campaign's": site.seal("/c/2/change", "user"),
        "made later": f"{int(made_at) + 1}.{mark}",
        "cut": right[:-1],
        "not ascii": f"{made_at}.žluťoučký",
        "no time": f".{mark}",
        "a strange time": f"٣{right}",
        "of another server": Seal("another").make("ursula", "campaign 1"),
    }
    for name, seal in wrong.items():
        answer = site.post("/c/1/doubts", {**settle, "seal": seal}, "user")
        assert answer.status_code == 403, name
        assert unchanged_but_planned(desk), name
    # Once its time is over, and not before.
    clock = SimpleNamespace(time=lambda: int(made_at) + access.FORM_AGE + 1)
    monkeypatch.setattr(access, "time", clock)
    assert site.client("user").post(f"{PREFIX}/c/1/doubts", data=settle).status_code == 403
    assert unchanged_but_planned(desk)
    clock.time = lambda: int(made_at) + access.FORM_AGE
    assert site.client("user").post(f"{PREFIX}/c/1/doubts", data=settle).status_code == 303


def unchanged_but_planned(desk):
    found = desk.sql("SELECT count(*) FROM telekom_sms_message WHERE state = 'in_doubt'")
    return found == [(2,)] and desk.sql("SELECT count(*) FROM telekom_sms_action") == [(0,)]


def test_to_look_never_changes_anything(site, desk, doubtful):
    query = {**SETTLE, **PAUSE, "row": str(doubtful[0]), "seal": site.seal("/c/1/doubts")}
    for path in FORMS:
        assert site.get(path, params=query).status_code == 200
        for method in ("put", "delete", "patch"):
            assert getattr(site.client(), method)(PREFIX + path, params=query).status_code == 405
    assert unchanged(desk)


def test_every_answer_says_what_browsers_may_do(site, doubtful):
    answers = [site.get(path) for path in (*PAGES, "/c/9", "/nowhere", "/static/none", "/c/1/rows?show=none")]
    answers += [site.get("/", None), site.post("/c/1/change", {**PAUSE, "seal": "x"})]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert "frame-ancestors 'self'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
    for name in ("page.css", "page.js", "icon.svg", "icon-dark.svg"):
        answer = site.get(f"/static/{name}", None)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=86400"


def test_the_secret_is_not_shown():
    seal = Seal("geheim")
    assert "geheim" not in repr(seal)
    assert "geheim" not in seal.make("u", "p")
