from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN as TOKEN
from airflow_provider_telekom_sms.simulator.fates import FATES, STATUSES, fate_of, status_at


def bratislava(seconds):
    return (datetime.now(ZoneInfo("Europe/Bratislava")) + timedelta(seconds=seconds)).strftime(
        "%Y-%m-%d %H:%M:%S"
    )


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("00", "DELIVERED"),
        ("05", "DELIVERED"),
        ("09", "DELIVERED"),
        ("01", "UNDELIVERABLE"),
        ("02", "EXPIRED"),
        ("03", "SENT"),
        ("04", "DELIVERED"),
        ("91", "DENIED"),
        ("92", "UNKNOWN"),
        ("93", "SENT"),
        ("94", "ERROR"),
        ("95", "DELETED"),
        ("98", "READ"),
    ],
)
def test_fates_after_ten_seconds(ending, code):
    assert status_at(fate_of(f"4219030000{ending}"), 10)[0] == code


def test_courses():
    def course(fate):
        return [status_at(fate, age)[0] for age in (0, 0.6, 1.2, 2.1, 3.2, 3.6, 25)]

    assert course("delivered") == ["QUEUED", "SENDING", "SENT", *["DELIVERED"] * 4]
    assert course("slow") == ["QUEUED", "SENDING", *["SENT"] * 4, "DELIVERED"]
    assert course("error_then_delivered") == [
        "QUEUED",
        "SENDING",
        "ERROR",
        "ERROR",
        "SENDING",
        "SENT",
        "DELIVERED",
    ]
    assert status_at("read", 5) == ("READ", 2.0)
    assert {code for steps in FATES.values() for _, code in steps} <= set(STATUSES)


def test_progress_follows_the_speed(api, later):
    api.state.settings.speed = 0.001
    before, message_id = bratislava(0), api.send_id()
    later(10)
    assert api.status(message_id) == "QUEUED"
    api.state.settings.speed = 1000
    reply = api.json("check_message", {"message_id": message_id, "token": TOKEN})
    assert reply["code"] == "DELIVERED"
    assert before <= reply["deliveryDateTime"] <= bratislava(1)


def test_speed_zero_stands_still(api):
    api.state.settings.speed = 0
    assert api.status(api.send_id()) == "QUEUED"


def test_scheduled_until_its_time(api, later):
    api.state.settings.speed = 1000
    message_id = api.send_id(delivery_time=bratislava(600))
    later(500)
    assert api.status(message_id) == "SCHEDULED"
    later(101)
    assert api.status(message_id) == "DELIVERED"


def test_in_group_for_a_while(api, later):
    api.state.settings.speed = 0.001
    message_id = api.send_id(groupId=1000)
    assert api.status(message_id) == "IN_GROUP"
    later(5000)
    assert api.status(message_id) == "DELIVERED"


def test_status_and_fate_set_from_outside(api, later):
    api.state.settings.speed = 1000
    message_id = api.send_id()
    api.state.set_status(message_id, "BLACKLISTED")
    assert api.status(message_id) == "BLACKLISTED"
    api.state.set_fate(message_id, "denied")
    later(1)
    assert api.status(message_id) == "DENIED"
    with pytest.raises(ValueError, match="no fate"):
        api.state.set_fate(message_id, "lost")


def test_one_fate_for_all(api):
    api.state.settings.fate = "delivered"
    assert api.send(to="421903000099")["messages"][0]["code"] == "OK"


@pytest.mark.parametrize("wire", ["json", "xml"])
def test_rejected_in_the_message_while_the_result_is_ok(api, wire):
    parameters = {"to": "421903000099", "text": "x", "token": TOKEN}
    if wire == "json":
        reply = api.json("send_message", parameters)
        assert (reply["result"]["code"], reply["message_count"]) == ("OK", 1)
        assert reply["messages"] == [
            {
                "status": "error",
                "code": "INCORRECT_RECIPIENT_ADDRESS",
                "description": "Recipient address is incorrect",
            }
        ]
    else:
        root = api.xml("send_message", parameters)
        assert root.findtext("result/code") == "OK"
        assert root.findtext("messages/message/code") == "INCORRECT_RECIPIENT_ADDRESS"
        assert root.find("messages/message").attrib == {}
    assert api.state.messages == []
    assert api.state.violations == []


@pytest.mark.parametrize("message_id", [1, "1"])
def test_unknown_message(api, message_id):
    reply = api.json("check_message", {"message_id": message_id, "token": TOKEN})
    assert reply["result"]["code"] == "MESSAGE_NOT_FOUND"
