from __future__ import annotations

from datetime import timedelta
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_telekom_sms.api.delivery import (
    ERROR_FINAL_AFTER,
    FINAL,
    FINAL_FAILURE,
    FINAL_SUCCESS,
    DeliveryCode,
    DeliveryStatus,
    parse_code,
    supersedes,
)

# What the API can report for one message, in the order in which it happens.
HISTORIES = [
    ["UNSENT", "QUEUED", "PROCESSING", "SENDING", "SENT", "DELIVERED"],
    ["SCHEDULED", "QUEUED", "SENDING", "SENT", "DELIVERED", "READ"],
    ["IN_GROUP", "QUEUED", "SENDING", "SENT", "EXPIRED"],
    ["QUEUED", "DELETED"],
    ["QUEUED", "SENDING", "DENIED"],
    ["QUEUED", "SENDING", "SENT", "UNDELIVERABLE"],
    ["QUEUED", "SENDING", "SENT", "UNKNOWN"],
    ["QUEUED", "SENDING", "ERROR"],
    ["QUEUED", "SENDING", "ERROR", "SENDING", "ERROR", "SENDING", "SENT", "DELIVERED"],
    # A channel that fails, and the next one.
    ["QUEUED", "SENDING", "SENT", "EXPIRED", "QUEUED", "SENDING", "SENT", "DELIVERED", "READ"],
    ["QUEUED", "SENDING", "SENT", "UNKNOWN", "DELIVERED"],
]


def end_of(reports):
    return reduce(lambda old, new: new if supersedes(new, old) else old, reports, None)


@pytest.mark.parametrize("history", HISTORIES, ids=" ".join)
def test_in_order_the_end_is_the_last_report(history):
    assert end_of(history) == history[-1]


@given(st.sampled_from(HISTORIES), st.data())
def test_late_twice_and_in_disorder(history, data):
    repeated = history + data.draw(st.lists(st.sampled_from(history)))
    assert end_of(data.draw(st.permutations(repeated))) == history[-1]


reports = st.sampled_from(DeliveryCode) | st.sampled_from(["BLACKLISTED", "2", "NEW"])


@given(st.lists(reports, min_size=1), st.data())
def test_the_end_does_not_depend_on_the_order_whatever_comes(codes, data):
    assert end_of(codes) == end_of(data.draw(st.permutations(codes))) == end_of(codes + codes)


@given(reports, reports, reports)
def test_it_is_a_strict_order(one, two, three):
    assert not supersedes(one, one)
    assert (one == two) or (supersedes(one, two) != supersedes(two, one))
    if supersedes(one, two) and supersedes(two, three):
        assert supersedes(one, three)


def test_ranks():
    going_on = set(DeliveryCode) - FINAL
    assert all(not supersedes(new, old) for old in FINAL for new in going_on | {"BLACKLISTED"})
    assert all(supersedes(new, old) for new in FINAL for old in going_on | {"BLACKLISTED"})
    assert all(
        supersedes(new, old) for new in FINAL_SUCCESS for old in FINAL_FAILURE | {DeliveryCode.UNKNOWN}
    )
    assert supersedes("READ", "DELIVERED")
    assert not supersedes("DELIVERED", "READ")
    assert all(supersedes(code, None) for code in DeliveryCode)


def test_final():
    assert {"DELIVERED", "READ"} == FINAL_SUCCESS
    assert {"EXPIRED", "DELETED", "UNDELIVERABLE", "DENIED"} == FINAL_FAILURE
    assert FINAL_SUCCESS | FINAL_FAILURE | {"UNKNOWN"} == FINAL
    assert timedelta(minutes=60) == ERROR_FINAL_AFTER


def test_codes_of_the_manual():
    printed = (
        "UNSENT SCHEDULED QUEUED SENDING SENT DELIVERED EXPIRED DELETED UNDELIVERABLE DENIED IN_GROUP READ "
        "PROCESSING ERROR UNKNOWN"
    )
    assert set(printed.split()) == set(DeliveryCode)
    assert len(DeliveryCode) == 15


@pytest.mark.parametrize(
    ("value", "code"),
    [
        *((code.value, code) for code in DeliveryCode),
        ("delivered", DeliveryCode.DELIVERED),
        (" In_Group\n", DeliveryCode.IN_GROUP),
        (DeliveryCode.READ, DeliveryCode.READ),
        *((1, "QUEUED"), (3, "SENT"), (4, "DELIVERED"), (5, "EXPIRED"), (6, "DELETED"), (7, "UNDELIVERABLE")),
        *(
            (8, "DENIED"),
            (9, "ERROR"),
            (10, "UNKNOWN"),
            (11, "SCHEDULED"),
            (12, "IN_GROUP"),
            (14, "PROCESSING"),
        ),
        ("4", "DELIVERED"),
    ],
)
def test_code_is_read(value, code):
    assert parse_code(value) is DeliveryCode(code)


@pytest.mark.parametrize(
    ("value", "kept"), [("BLACKLISTED", "BLACKLISTED"), (" Nový ", "Nový"), (2, "2"), ("", "")]
)
def test_unknown_code_is_kept_and_never_final(value, kept):
    code = parse_code(value)
    assert (code, type(code)) == (kept, str)
    status = DeliveryStatus("1", code, "", None)
    assert (status.is_terminal, status.is_success) == (False, False)


@pytest.mark.parametrize("code", DeliveryCode)
def test_status(code):
    status = DeliveryStatus("1", code, "", None)
    assert (status.is_terminal, status.is_success) == (code in FINAL, code in FINAL_SUCCESS)
