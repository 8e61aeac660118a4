"""The manual's own examples: requests as printed, replies in the printed shapes."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN as TOKEN

OK = {"status": "success", "description": "", "code": "OK"}
UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")


@pytest.fixture(autouse=True)
def _judged_right(api):
    yield
    assert api.state.violations == []


def outline(element):
    """An element as (tag, attributes, text or children)."""
    children = [outline(child) for child in element]
    return element.tag, dict(element.attrib), children or (element.text or "")


XML_OK = ("result", {}, [("status", {}, "success"), ("description", {}, ""), ("code", {}, "OK")])


def test_key_has_the_length_of_the_manuals():
    assert len(TOKEN) == 64


def test_auth_json(api):
    reply = api.json("auth", {"token": TOKEN})
    assert list(reply) == ["result", "session_id"]
    assert reply["result"] == OK
    assert UUID.fullmatch(reply["session_id"])
    assert api.state.logins == 1


def test_auth_xml(api):
    root = api.xml("auth", {"token": TOKEN})
    assert [child.tag for child in root] == ["result", "session_id"]
    assert outline(root[0]) == XML_OK
    assert UUID.fullmatch(root[1].text)


def test_xml_reply_is_written_as_printed(api):
    reply = api.raw_xml("ping", {"session_id": api.login()})
    assert reply.headers["content-type"].startswith("application/xml")
    assert reply.text == (
        '<?xml version="1.0" encoding="UTF-8" ?>\n<response>\n'
        "    <result>\n        <status>success</status>\n        <description></description>\n"
        "        <code>OK</code>\n    </result>\n</response>\n"
    )


def test_ping(api):
    session = api.login()
    assert api.json("ping", {"session_id": session}) == {"result": OK}
    assert outline(api.xml("ping", {"session_id": session})) == ("response", {}, [XML_OK])


def test_send_message_json(api):
    reply = api.json(
        "send_message",
        {
            "to": "421903000000",
            "session_id": api.login(),
            "text": "Text that will be displayed to the recipient",
            "unicode": False,
        },
    )
    (message,) = api.state.messages
    entry = {"status": "success", "code": "OK", "description": "", "message_id": message.id, "parts": 1}
    assert reply == {"result": OK, "message_count": 1, "messages": [entry]}


def test_send_message_xml(api):
    body = f"""<?xml version="1.0" encoding="UTF-8" ?>
<request>
    <to>421903000000</to>
    <session_id>{api.login()}</session_id>
    <text>Text that will be displayed to the recipient</text>
    <unicode>false</unicode> <!-- This parameter ensures automatic removal of diacritics from the message -->
</request>"""
    reply = api.raw(
        "POST", "/xml/send_message", data=body, headers={"content-type": "text/xml; charset=UTF-8"}
    )
    (message,) = api.state.messages
    assert reply.status_code == 200
    assert f'<messages count="1">\n        <message id="{message.id}">\n' in reply.text
    assert "parts" not in reply.text


def test_send_message_with_every_parameter(api):
    message_id = api.send_id(
        to="+421903000000",
        text="Žltý kôň",
        **{"from": "Telekom"},
        callback=False,
        delivery_time="2020-01-31 08:00:00",
        priority=3,
        validity=1440,
        unicode=True,
        type="flash",
        groupId=1000,
    )
    message = api.state.message(message_id)
    assert (message.number, message.prefer_rcs, message.text) == ("421903000000", True, "Žltý kôň")
    assert message.parameters["validity"] == 1440
    assert "token" not in message.parameters


def test_session_not_found_is_slovak_in_send_message_only(api):
    gone = {"session_id": "92f84490-1f89-11f0-a652-9ba39c6bc33b"}
    send = api.json("send_message", {"to": "421903000000", "text": "x", **gone})
    assert send == {
        "result": {
            "status": "error",
            "description": "Relácia nebola nájdená alebo expirovala",
            "code": "SESSION_NOT_FOUND",
        }
    }
    assert outline(api.xml("ping", gone)) == (
        "response",
        {},
        [
            (
                "result",
                {},
                [
                    ("status", {}, "error"),
                    ("description", {}, "Session was not found or has expired"),
                    ("code", {}, "SESSION_NOT_FOUND"),
                ],
            )
        ],
    )


@pytest.mark.parametrize("as_text", [True, False])
def test_check_message_json(api, as_text):
    message_id = api.send_id()
    api.state.set_status(message_id, "DELIVERED")
    asked = str(message_id) if as_text else message_id
    reply = api.json("check_message", {"message_id": asked, "session_id": api.login()})
    delivered = datetime.strptime(reply.pop("deliveryDateTime"), "%Y-%m-%d %H:%M:%S")
    now = datetime.now(ZoneInfo("Europe/Bratislava")).replace(tzinfo=None)
    assert abs(now - delivered) < timedelta(seconds=30)
    assert reply == {"result": OK, "message_id": str(message_id), "status": "Delivered", "code": "DELIVERED"}


def test_check_message_xml_is_nested(api):
    message_id = api.send_id()
    root = api.xml("check_message", {"message_id": message_id, "session_id": api.login()})
    assert outline(root)[2][1] == (
        "message",
        {},
        [("status", {}, "Queued"), ("code", {}, "QUEUED"), ("deliveryDateTime", {}, "")],
    )


def test_sms_groups_xml(api):
    root = api.xml("sms-groups", {"token": TOKEN, "limit": 1, "startFrom": 1})
    group = [
        ("id", {}, "1001"),
        ("name", {}, "Večerná vlna"),
        ("isPaused", {}, "true"),
        ("note", {}, "Od 17:00"),
    ]
    assert outline(root)[2][1] == ("groups", {"count": "1"}, [("number", {}, group)])


def test_sms_groups_json_shapes(api):
    asked = {"token": TOKEN, "limit": 5, "startFrom": 1}
    row = {"id": 1001, "name": "Večerná vlna", "isPaused": True, "note": "Od 17:00"}
    assert api.json("sms-groups", asked) == {"result": OK, "groups": [row]}
    api.state.settings.groups_json = "object"
    assert api.json("sms-groups", asked) == {"result": OK, "groups": {"count": 1, "number": [row]}}
    api.state.settings.groups_json = "none"
    assert api.json("sms-groups", asked) == {"result": OK}


def test_check_phone_number(api):
    asked = {"phone_number": "0900000001", "token": TOKEN}
    assert api.json("check_phone_number", asked) == {"result": OK, "exists": False, "operator": "Telekom"}
    asked["phone_number"] = "0905000000"
    assert outline(api.xml("check_phone_number", asked))[2][1] == (
        "phone_number",
        {},
        [("exists", {}, "true"), ("operator", {}, "Orange")],
    )


@pytest.mark.parametrize("wire", ["json", "xml"])
def test_everything_by_get(api, wire):
    api.state.settings.allow_get = True
    login = api.get(wire, "auth", {"token": TOKEN})
    session = {"session_id": UUID.search(login.text)[0]}
    message = {"to": "0903000000", "text": "Dobrý deň & 1+1=2", "unicode": "0", **session}
    for endpoint, parameters in {
        "ping": session,
        "send_message": message,
        "check_message": {"message_id": "100427", **session},
        "sms-groups": session,
        "check_phone_number": {"phone_number": "0903000000", **session},
    }.items():
        reply = api.get(wire, endpoint, parameters)
        assert reply.status_code == 200
        assert "success" in reply.text or endpoint == "check_message"
    assert api.state.messages[0].text == "Dobrý deň & 1+1=2"


def test_deny_ip(api):
    api.state.settings.deny_ip = True
    reply = api.json("auth", {"token": TOKEN})
    assert reply["result"] == {
        "status": "error",
        "description": "Access from IP address 127.0.0.1 is not allowed",
        "code": "IP_NOT_ALLOWED",
    }


@pytest.mark.parametrize(
    ("text", "unicode", "parts"),
    [
        ("a" * 160, None, 1),
        ("a" * 161, None, 2),
        ("€" * 80, None, 1),
        ("€" * 153, None, 3),
        ("č" * 70, None, 1),
        ("č" * 71, None, 2),
        ("č" * 160, False, 1),
        ("a" * 71, True, 2),
        ("č" * 66 + "😀" * 2, None, 1),
        ("č" * 66 + "😀" * 3, None, 2),
    ],
)
def test_parts(api, text, unicode, parts):
    parameters = {} if unicode is None else {"unicode": unicode}
    assert api.send(text=text, **parameters)["messages"][0]["parts"] == parts


def test_too_long(api):
    assert api.send(text="a" * 460)["result"]["code"] == "MESSAGE_TOO_LONG"
    assert api.send(text="č" * 202)["result"]["code"] == "MESSAGE_TOO_LONG"
    assert api.state.messages == []
