"""API v2 over a real socket: what is valid arrives as it was written, what is not never leaves."""

from __future__ import annotations

import copy
import itertools
import json
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_telekom_sms.api.messages import MultichannelMessage
from airflow_provider_telekom_sms.exceptions import InvalidMessageError, TelekomSmsError
from airflow_provider_telekom_sms.simulator import Simulator
from airflow_provider_telekom_sms.simulator.judge_v2 import violations_of
from tests.api.bad_messages import CASES, Case
from tests.api.manual_v2 import MESSAGES, examples
from tests.api.strategies import messages

Hook = Callable[..., Any]


def arrived(sim: Simulator) -> list[Any]:
    return [request.parameters for request in sim.state.requests]


def sent(value: Any) -> Any:
    """Give what arrives of a value: a key that is null is not given, and texts are composed."""
    if isinstance(value, dict):
        return {key: sent(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [sent(item) for item in value]
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


@pytest.mark.parametrize("name", examples())
def test_every_example_of_the_manual_arrives_as_it_is(sim: Simulator, hook: Hook, name: str) -> None:
    message = examples()[name]
    with hook(sim.url) as client:
        receipts = client.send_multichannel(copy.deepcopy(message))
    assert [receipt.status for receipt in receipts] == ["success"] * len(message["recipients"])
    assert arrived(sim) == [message]
    assert sim.state.violations == []


@pytest.mark.parametrize("name", MESSAGES)
async def test_the_twin_sends_the_same(sim: Simulator, hook: Hook, name: str) -> None:
    async with hook(sim.url) as client:
        await client.asend_multichannel(examples()[name])
    assert arrived(sim) == [examples()[name]]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_message_never_leaves_and_its_neighbour_does(sim: Simulator, hook: Hook, case: Case) -> None:
    with hook(sim.url) as client:
        with pytest.raises(InvalidMessageError) as caught:
            client.send_multichannel(case.bad)
        assert f"{case.path}: " in f"; {caught.value}"
        assert sim.state.requests == []
        client.send_multichannel(case.good)
    assert arrived(sim) == [sent(case.good)]
    assert sim.state.violations == []


def test_the_table_is_long_enough() -> None:
    assert len(CASES) >= 60
    assert all(violations_of(case.bad) and not violations_of(case.good) for case in CASES)


# --- two readers of one manual ------------------------------------------------------------------------------

#: What a value is replaced with: something of every type, and just beyond or within the manual's limits.
VALUES: list[Any] = [
    None, True, False, 0, 1, 3, 4, 30, 30.0, -90, 90.0001, 180.5, 1e400, "", " ", "x", "x" * 25, "x" * 26,
    "č" * 70, "x" * 161, "x" * 460, "x\x00", "\ud800", "rcs", "sms", "dsn", "TALL", "SMALL", "VERTICAL",
    "HORIZONTAL", "LEFT", "+421903123456", "+4219031234567", "0800123456", "https://a.sk", "http://", "a.sk",
    "https://a\u00a0b",
    "ftp://a.sk", "https://a b", "http\u017f://a.sk", "2026-03-29 02:30:00", "2026-03-29T02:30:00Z",
    "2026-02-30T00:00:00Z", "2026-07-01T08:00:00+24:00", "2026-07-01 08:00", [], {}, [None], ["dsn", "dsn"],
    {"text": "x"}, {"reply": {}}, [{"type": "sms"}] * 2,
]  # fmt: skip
KEYS = ["text", "unicode", "ttl", "height", "file", "label", "description", "externalId", "from", "nonsense"]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the path of everything inside a value."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, item in children:
        yield (*path, key)
        yield from places(item, (*path, key))


@st.composite
def spoiled(draw: st.DrawFn) -> Any:
    """A valid message that was changed in one place or two."""
    message = draw(messages())
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from([*places(message)] or [("recipients",)]))
        target = message
        for key in path[:-1]:
            target = target[key]
        match draw(st.sampled_from(["replace", "remove", "add", "repeat"])):
            case "replace":
                target[path[-1]] = draw(st.sampled_from(VALUES))
            case "remove":
                del target[path[-1]]
            case "add" if isinstance(target, dict):
                target[draw(st.sampled_from(KEYS))] = draw(st.sampled_from(VALUES))
            case "repeat" if isinstance(target, list) and path[-1] < len(target):
                target += [copy.deepcopy(target[path[-1]])] * draw(st.integers(1, 11))
    return message


def refused_by_the_models(message: Any) -> bool:
    try:
        payload = MultichannelMessage.check(message).payload()
    except InvalidMessageError:
        return True
    # What leaves is what the simulator judges.
    assert violations_of(json.loads(json.dumps(payload))) == []
    return False


@given(spoiled())
@settings(max_examples=300, suppress_health_check=list(HealthCheck))
def test_models_and_simulator_agree_on_every_message(message: Any) -> None:
    assert refused_by_the_models(message) == bool(violations_of(message))


def test_models_and_simulator_agree_on_every_value_in_every_place() -> None:
    whole = examples()
    for name, value in itertools.product(("text", "carouselCard"), VALUES):
        for path in places(whole[name]):
            message = copy.deepcopy(whole[name])
            target: Any = message
            for key in path[:-1]:
                target = target[key]
            target[path[-1]] = value
            assert refused_by_the_models(message) == bool(violations_of(message)), (path, value)


@given(messages())
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
def test_a_message_is_the_same_after_a_round_trip(message: Any) -> None:
    model = MultichannelMessage.check(message)
    again = MultichannelMessage.check(json.loads(json.dumps(model.payload())))
    assert again == model
    assert violations_of(model.payload()) == []


def test_what_the_simulator_refuses_is_told(sim: Simulator, hook: Hook) -> None:
    """Where the models have been passed by, its answer is an error like any other."""
    from airflow_provider_telekom_sms.api import v2

    with hook(sim.url) as client:
        transport = client.get_conn()
        call = v2.send_messages(transport.settings.token, {"recipients": [{"phone": "0903"}], "channels": []})
        with pytest.raises(TelekomSmsError, match="INVALID_REQUEST"):
            transport.run(call)
    assert sim.state.violations
