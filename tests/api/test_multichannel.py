from __future__ import annotations

import copy
import json
import pickle
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType

import pandas
import pendulum
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from airflow_provider_telekom_sms.api import messages as api
from airflow_provider_telekom_sms.api.messages import (
    Action,
    CallbackUrl,
    CardContent,
    Channel,
    CreateCalendarEvent,
    Dial,
    LatLong,
    MessagePart,
    MultichannelMessage,
    Rcs,
    Recipient,
    Reply,
    Sms,
    SmsParameters,
    Suggestion,
)
from airflow_provider_telekom_sms.exceptions import InvalidMessageError
from tests.api import strategies
from tests.api.bad_messages import CARD, CAROUSEL, FILE, GONE, TEXT, cases_by_name, changed
from tests.api.manual_v2 import MESSAGES, examples, read

EXAMPLES = examples()
CASES = cases_by_name()
PARTS = [model for model in vars(api).values() if isinstance(model, type) and issubclass(model, MessagePart)]
SECRET = "Vážená pani Nováková"


def problems(value, model=MultichannelMessage, **kwargs):
    with pytest.raises(InvalidMessageError) as error:
        model.check(value, **kwargs)
    assert error.value.__context__ is None
    return str(error.value).split("; ")


def paths(value, model=MultichannelMessage, **kwargs):
    return [problem.split(": ")[0] for problem in problems(value, model, **kwargs)]


def message(**parts):
    return {
        "recipients": [{"phone": "+421903123456"}],
        "channels": [{"type": "rcs"}],
        "rcs": {"text": "Ahoj"},
        **parts,
    }


def python_names(value):
    """Rewrite the keys of a JSON value, without the help of the models."""
    if isinstance(value, list):
        return tuple(map(python_names, value))
    if not isinstance(value, dict):
        return value
    names = {key: "sender" if key == "from" else re.sub("([A-Z])", r"_\1", key).lower() for key in value}
    return {names[key]: python_names(item) for key, item in value.items()}


class TestManual:
    def test_there_are_all(self):
        assert (len(MESSAGES), len(EXAMPLES)) == (4, 20)

    @pytest.mark.parametrize("name", EXAMPLES)
    def test_accepted_and_sent_as_printed(self, name):
        checked = MultichannelMessage.check(EXAMPLES[name])
        assert json.loads(json.dumps(checked.payload())) == EXAMPLES[name]
        assert MultichannelMessage.check(python_names(EXAMPLES[name])) == checked

    @pytest.mark.parametrize("name", MESSAGES)
    def test_the_only_warnings(self, name):
        """The manual's slips, and nothing else."""
        slips = ["callbackUrls[0].url"]
        if name == "carouselCard":
            slips.append(
                "rcs.carouselCard.cardContents[1].suggestions[0].action.dial.phoneNumber",
            )
        warnings = MultichannelMessage.check(read(MESSAGES[name])).warnings
        assert [warning.split(": ")[0] for warning in warnings] == slips


class TestRules:
    def test_how_many(self):
        assert len(CASES) >= 80

    @pytest.mark.parametrize("name", CASES)
    def test_refused_at_its_path(self, name):
        assert paths(CASES[name].bad) == [CASES[name].path]

    @pytest.mark.parametrize("name", CASES)
    def test_the_nearest_is_accepted(self, name):
        checked = MultichannelMessage.check(CASES[name].good)
        assert MultichannelMessage.check(checked.payload()) == checked

    @pytest.mark.parametrize("whole", [TEXT, FILE, CARD, CAROUSEL])
    def test_the_tables_own_messages(self, whole):
        checked = MultichannelMessage.check(whole)
        assert checked.payload() == whole
        assert checked.warnings == []

    def test_nothing_of_a_bad_message_is_quoted(self):
        for case in CASES.values():
            said = "; ".join(problems(case.bad)).replace(case.path, "")
            assert not re.search(r"(?<!\.)\d{9}|Ahoj|zakaznik|https://[a-z]|ano|Karta", said), case.name


class TestProblems:
    def test_all_at_once(self):
        bad = message(
            channels=[{"type": "rcs", "ttl": "30"}, {"type": "rcs"}, {"type": "sms"}],
            recipients=[{"phone": "0903 123 456"}, {"phone": SECRET}],
            prioryty=1,
            rcs={
                "text": SECRET,
                "from": SECRET + "\x00",
                "carouselCard": {
                    "cardWidth": "SMALL",
                    "card_contents": [
                        {"media": {"height": "HUGE", "contentInfo": {"fileUrl": SECRET}}},
                        {"media": {"height": "TALL", "contentInfo": {}}},
                        {},
                    ],
                },
            },
        )
        keys = "recipients, channels, deliveryTime, priority, groupId, callbackUrls, sms, rcs"
        card, contents = "rcs.carouselCard.cardContents", "text, file, standaloneCard, carouselCard"
        assert problems(bad) == [
            "recipients[0].phone: found +4219••••3456, allowed are +421 and nine digits without blanks",
            "recipients[1].phone: found ••••, allowed are +421 and nine digits without blanks",
            "channels[0].ttl: found '30', allowed are whole numbers from 1 on",
            f"{card}[0].media.contentInfo.fileUrl: found a text of 20 characters, allowed are URLs that "
            "begin with http:// or https:// and hold no white space",
            f"{card}[0].media.height: found 'HUGE', allowed are SHORT, MEDIUM, TALL",
            f"{card}[1].media.contentInfo.fileUrl: missing, but required",
            f"{card}[2]: found none, needed is at least one of title, description, media",
            f"{card}[1].media.height: found 'TALL', allowed are SHORT, MEDIUM where cardWidth is SMALL",
            "rcs.from: found U+0000 at position 21, a character that a message cannot hold",
            f"rcs: found text, carouselCard, allowed is exactly one of {contents}",
            f"prioryty: unknown (priority is meant?), allowed are {keys}",
            "channels[1].type: found 'rcs' a second time, allowed is each once",
            "sms: missing, but required because of channels[2]",
        ]

    def test_the_length_is_told_with_what_is_inside(self):
        bad = {"text": "a", "suggestions": [{"reply": {"text": "a" * 26, "postbackData": "a"}}] * 12}
        assert paths(bad, Rcs) == [f"rcs.suggestions[{i}].reply.text" for i in range(12)] + [
            "rcs.suggestions"
        ]

    @pytest.mark.parametrize(
        ("model", "value", "path", "told"),
        [
            (Rcs, {"text": ""}, None, "rcs.text"),
            (Sms, {"text": ""}, None, "sms.text"),
            (Sms, {}, "campaign.sms", "campaign.sms.text"),
            (Channel, {"type": "x"}, "channels[1]", "channels[1].type"),
            (Channel, "sms", "channels[1]", "channels[1]"),
            (CallbackUrl, {"url": "a", "types": ["dsn"]}, None, "callbackUrl.url"),
            (Recipient, {"phone": "1"}, "", "phone"),
            (MultichannelMessage, 5, None, "message"),
            (MultichannelMessage, [("recipients", [])], None, "message"),
        ],
    )
    def test_where_the_path_begins(self, model, value, path, told):
        assert paths(value, model, path=path) == [told]

    @pytest.mark.parametrize("model", PARTS, ids=lambda model: model.__name__)
    @pytest.mark.parametrize("value", [None, 5, SECRET, "", b"", [], [{}], float("nan"), Sms(text="a")])
    def test_no_object(self, model, value):
        if isinstance(value, model):
            return
        (problem,) = problems(value, model)
        assert "allowed are objects with " in problem
        assert SECRET not in problem

    @pytest.mark.parametrize(
        ("value", "told"),
        [
            ({"Text": "a"}, "rcs.Text: unknown (text is meant?), allowed are text, file, "),
            ({"standalonecard": {}}, "rcs.standalonecard: unknown (standaloneCard is meant?)"),
            ({"card_carousel": {}}, "rcs.card_carousel: unknown (carouselCard is meant?)"),
            ({"zzz": 1}, "rcs.zzz: unknown, allowed are text, "),
            ({"from_": "a"}, "rcs.from_: unknown (from is meant?)"),
            ({5: 1}, "rcs: found the key 5, allowed are text, "),
            ({None: 1}, "rcs: found the key None, allowed are text, "),
            ({SECRET: 1}, "rcs: found the key a text of 20 characters, allowed are text, "),
            ({"+421903123456": 1}, "rcs: found the key a text of 13 characters, allowed are text, "),
            ({"t903123456": 1}, "rcs: found the key 't+4219••••3456', allowed are text, "),
        ],
    )
    def test_an_unknown_key(self, value, told):
        (problem,) = problems({"text": "a", **value}, Rcs)
        assert problem.startswith(told)

    @pytest.mark.parametrize(
        ("model", "value", "told"),
        [
            (Rcs, {"text": "a", "from": "a", "sender": "a"}, "rcs.from: given twice, as from and as sender"),
            (Sms, {"text": "a", "sender": None, "from": "a"}, "sms.from: given twice, as from and as sender"),
            (
                Reply,
                {"text": "a", "postback_data": "a", "postbackData": "a"},
                "reply.postbackData: given twice, as postbackData and as postback_data",
            ),
        ],
    )
    def test_the_same_key_under_both_names(self, model, value, told):
        assert problems(value, model) == [told]

    def test_a_missing_key_however_it_is_missing(self):
        assert paths({}, Recipient) == paths({"phone": None}, Recipient) == ["recipient.phone"]
        assert "missing, but required" in problems({}, Recipient)[0]

    @pytest.mark.parametrize(
        "ttl", [-421903123456, "421903123456", "t903123456", 421903123456.0, SECRET, b"a"]
    )
    def test_what_was_found_is_shown_with_care(self, ttl):
        (problem,) = problems({"type": "rcs", "ttl": ttl}, Channel)
        assert "903123456" not in problem
        assert SECRET not in problem

    @pytest.mark.parametrize(
        "name", [name for name, case in CASES.items() if case.path.startswith("recipients[1].phone")]
    )
    def test_numbers_are_masked(self, name):
        assert not re.search(r"\d{5}", problems(CASES[name].bad)[0])


class TestConstruction:
    def test_the_words_are_those_of_check(self):
        with pytest.raises(InvalidMessageError) as error:
            Rcs(text=SECRET, file={"url": SECRET}, to="x")
        assert error.value.__context__ is None
        assert SECRET not in str(error.value)
        assert str(error.value).split("; ") == problems(
            {"text": SECRET, "file": {"url": SECRET}, "to": "x"}, Rcs
        )

    def test_whole_paths_from_the_outside(self):
        with pytest.raises(InvalidMessageError, match=r"^rcs\.standaloneCard\.cardContent\.title: found"):
            MultichannelMessage(
                recipients=[Recipient(phone="+421903123456")],
                channels=[Channel(type="rcs")],
                rcs={"standaloneCard": {"cardOrientation": "VERTICAL", "cardContent": {"title": ""}}},
            )

    def test_what_goes_together_is_checked_of_models_too(self):
        tall = CardContent(media={"height": "TALL", "content_info": {"file_url": "https://a"}})
        no_height = CardContent(media={"content_info": {"file_url": "https://a"}})
        assert paths({"carouselCard": {"cardWidth": "SMALL", "cardContents": [tall, no_height]}}, Rcs) == [
            "rcs.carouselCard.cardContents[0].media.height",
            "rcs.carouselCard.cardContents[1].media.height",
        ]
        channels = [Channel(type="sms"), Channel(type="sms")]
        assert paths(message(channels=channels)) == ["channels[1].type", "sms"]

    def test_lists_tuples_and_any_mapping(self):
        reply = {"reply": MappingProxyType({"text": "a", "postback_data": "a"})}
        assert Rcs.check({"text": "a", "suggestions": [reply]}) == Rcs(text="a", suggestions=(reply,))
        assert Rcs(text="a", suggestions=()).payload() == {"text": "a", "suggestions": []}
        for wrong in ({}, "a", {"a"}, iter([reply]), 5):
            assert paths({"text": "a", "suggestions": wrong}, Rcs) == ["rcs.suggestions"]

    def test_neither_pydantics_own_error_quotes(self):
        with pytest.raises(ValidationError) as error:
            Rcs.model_validate({"text": SECRET, "file": {"url": SECRET}, "from": [SECRET]})
        assert SECRET not in f"{error.value} {error.value.errors()} {error.value.json()}"

    def test_from_json(self):
        text = MESSAGES["carouselCard"]
        assert MultichannelMessage.model_validate_json(text) == MultichannelMessage.check(read(text))

    def test_frozen(self):
        sms = Sms(text="a")
        with pytest.raises(AttributeError, match="frozen") as caught:
            sms.text = "secret"
        assert "secret" not in str(caught.value)
        assert sms == Sms(text="a")

    def test_an_error_has_an_end(self):
        with pytest.raises(InvalidMessageError) as caught:
            Rcs(text="a", suggestions=[{}] * 5_000)
        assert str(caught.value).endswith(" more")
        assert len(str(caught.value)) < 20_000

    def test_a_text_has_an_end(self):
        with pytest.raises(InvalidMessageError, match="text of 20001 characters, allowed are up to 20000"):
            Rcs(text="a\u0301" * 10_000 + "b")

    def test_a_copy_is_checked(self):
        sms = Sms(text="a", sender="b")
        assert sms.model_copy(update={"sender": None}) == Sms(text="a")
        assert sms.model_copy(update={"from": "c"}).payload() == {"text": "a", "from": "c"}
        assert sms.model_copy() == sms
        for update in ({"text": ""}, {"texts": "a"}):
            with pytest.raises(InvalidMessageError, match=r"^sms\.text"):
                sms.model_copy(update=update)

    @pytest.mark.parametrize("whole", [TEXT, FILE, CARD, CAROUSEL])
    def test_pickled_copied_and_hashed(self, whole):
        checked = MultichannelMessage.check(whole)
        for again in (pickle.loads(pickle.dumps(checked)), copy.deepcopy(checked), checked.model_copy()):
            assert (again, hash(again), repr(again)) == (checked, hash(checked), repr(checked))
            assert again.payload() == whole
        assert MultichannelMessage.check(checked) is checked

    def test_texts_are_composed_and_ids_are_not(self):
        decomposed = "cafe\u0301"
        rcs = Rcs(text=decomposed, suggestions=[{"reply": {"text": decomposed, "postbackData": decomposed}}])
        assert rcs.text == rcs.suggestions[0].reply.text == "café"
        assert rcs.suggestions[0].reply.postback_data == decomposed
        assert Recipient(phone="+421903123456", external_id=decomposed).external_id == decomposed

    def test_every_object_is_to_be_had(self):
        exported = {model.__name__ for model in PARTS} - {"MessagePart"}
        of_the_manual = {key[0].upper() + key[1:] for key in KEYS} & exported
        lists = {"Recipient", "Channel", "CallbackUrl", "CardContent", "Suggestion", "MultichannelMessage"}
        assert exported == of_the_manual | lists
        assert len(exported) == 21
        assert SmsParameters.__module__ == api.__name__


class TestRepr:
    @pytest.mark.parametrize("whole", [TEXT, FILE, CARD, CAROUSEL])
    def test_hides_what_is_personal(self, whole):
        checked = MultichannelMessage.check(whole)
        assert not re.search(r"\d{9}|Ahoj|Obchod|https|Áno|ano|Karta|Koncert|17\.1", f"{checked!r} {checked}")

    def test_shows_the_rest(self):
        assert repr(Recipient(phone="+421903123456", external_id="a")) == (
            "Recipient(phone=+4219••••3456, external_id=<1 characters>)"
        )
        assert repr(Channel(type="rcs", ttl=30)) == "Channel(type='rcs', ttl=30)"
        assert repr(CallbackUrl(url="https://a", types=["dsn"])) == (
            "CallbackUrl(url=<9 characters>, types=('dsn',))"
        )
        assert repr(Suggestion(reply=Reply(text="Áno", postback_data="ano"))) == (
            "Suggestion(reply=Reply(text=<3 characters>, postback_data=<3 characters>))"
        )
        assert repr(Dial(phone_number="0800123456")) == "Dial(phone_number=+4218••••3456)"


class TestStrict:
    @pytest.mark.parametrize("wrong", [True, "2", 2.0, 2.5, [2], pandas.Series([2])[0], None.__class__])
    def test_integers(self, wrong):
        assert paths(message(priority=wrong)) == ["priority"]
        assert paths(message(groupId=wrong)) == ["groupId"]
        assert paths({"type": "rcs", "ttl": wrong}, Channel) == ["channel.ttl"]

    @pytest.mark.parametrize("wrong", [0, 1, "true", "false", 1.0, "", []])
    def test_booleans(self, wrong):
        assert paths({"text": "a", "unicode": wrong}, Sms) == ["sms.unicode"]

    @pytest.mark.parametrize("wrong", [True, False, "48.1", float("nan"), float("inf"), 10**400, [48], 1j])
    def test_numbers(self, wrong):
        assert paths({"latitude": wrong, "longitude": 0}, LatLong) == ["latLong.latitude"]
        assert paths({"latitude": 0, "longitude": wrong}, LatLong) == ["latLong.longitude"]

    @pytest.mark.parametrize("wrong", [5, True, 1.5, b"a", ["a"], {"a": "a"}, datetime(2026, 1, 1)])
    def test_strings(self, wrong):
        assert paths({"text": wrong, "from": wrong}, Sms) == ["sms.text", "sms.from"]
        assert paths({"type": wrong}, Channel) == ["channel.type"]


class TestTimes:
    @pytest.mark.parametrize(
        ("moment", "sent"),
        [
            (datetime(2026, 7, 1, 8), "2026-07-01T08:00:00+02:00"),
            (datetime(2026, 1, 1, 8, 0, 0, 5), "2026-01-01T08:00:00.000005+01:00"),
            (datetime(2026, 7, 1, 8, tzinfo=UTC), "2026-07-01T10:00:00+02:00"),
            (datetime(2026, 7, 1, 8, tzinfo=timezone(timedelta(seconds=30))), "2026-07-01T09:59:30+02:00"),
            (datetime(2026, 10, 25, 2, 30), "2026-10-25T02:30:00+02:00"),
            (datetime(2026, 10, 25, 2, 30, fold=1), "2026-10-25T02:30:00+01:00"),
            (pendulum.datetime(2026, 7, 1, 8), "2026-07-01T10:00:00+02:00"),
            (pandas.Timestamp("2026-07-01 08:00"), "2026-07-01T08:00:00+02:00"),
        ],
    )
    def test_a_datetime_becomes_rfc_3339(self, moment, sent):
        assert MultichannelMessage.check(message(delivery_time=moment)).delivery_time == sent
        event = CreateCalendarEvent(
            title="a", description="a", start_date_time=moment, end_date_time="2030-01-01T00:00:00Z"
        )
        assert event.payload()["startDateTime"] == sent

    @pytest.mark.parametrize(
        ("moment", "told"),
        [
            (datetime(2026, 3, 29, 2, 30), "does not exist on 2026-03-29 in Europe/Bratislava"),
            ("2026-03-29 02:30:00", "does not exist on 2026-03-29 in Europe/Bratislava"),
            (datetime(1969, 1, 1), "found 1969-01-01 00:00:00, allowed are"),
            (datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))), "allowed are"),
            (pandas.NaT, "found NaT, allowed are"),
            ("tomorrow", "found 'tomorrow', allowed are a datetime, YYYY-MM-DDTHH:MM:SSZ and"),
            (SECRET, "found a text of 20 characters, allowed are a datetime"),
            ("+421 903 123 456", "found '+4219••••3456', allowed are a datetime"),
        ],
    )
    def test_no_time(self, moment, told):
        (problem,) = problems(message(deliveryTime=moment))
        assert problem.startswith("deliveryTime: found")
        assert told in problem

    def test_an_event_in_the_hour_that_is_repeated(self):
        first, second = datetime(2026, 10, 25, 2, 30), datetime(2026, 10, 25, 2, 30, fold=1)
        event = {"title": "a", "description": "a"}
        CreateCalendarEvent.check({**event, "startDateTime": first, "endDateTime": second})
        assert paths({**event, "startDateTime": second, "endDateTime": first}, CreateCalendarEvent) == [
            "createCalendarEvent.endDateTime"
        ]


_SUGGESTIONS = [{"reply": {"text": "a", "postbackData": "a"}}]
_VIEW = "rcs.suggestions[3].action.viewLocation"


class TestWarnings:
    @pytest.mark.parametrize(
        ("whole", "told"),
        [
            (changed(TEXT, "channels", [{"type": "rcs"}]), ["sms: never sent"]),
            (changed(TEXT, "channels", [{"type": "sms"}]), ["rcs: never sent"]),
            (changed(TEXT, "callbackUrls[0].url", "zakaznik.app"), ["callbackUrls[0].url: has no https://"]),
            (
                changed(TEXT, "rcs.suggestions[1].action.dial.phoneNumber", "0800123456"),
                ["rcs.suggestions[1].action.dial.phoneNumber: sent as it is"],
            ),
            (
                changed(TEXT, f"{_VIEW}.label", "Tu"),
                [f"{_VIEW}.label: probably not shown"],
            ),
            (
                changed(CARD, "rcs.standaloneCard.height", "TALL"),
                ["rcs.standaloneCard.height: probably ignored"],
            ),
            (
                changed(
                    changed(CARD, "rcs.standaloneCard.cardOrientation", "HORIZONTAL"),
                    "rcs.standaloneCard.cardContent.media.height",
                    GONE,
                ),
                ["rcs.standaloneCard.cardContent.media.height: not given"],
            ),
            (
                changed(CARD, "rcs.suggestions", _SUGGESTIONS),
                [
                    "rcs.suggestions: ignored, because rcs.standaloneCard.cardContent has its own "
                    "(manual v2, suggestions)"
                ],
            ),
            (
                changed(
                    changed(CAROUSEL, "rcs.suggestions", _SUGGESTIONS),
                    "rcs.carouselCard.cardContents[0].suggestions",
                    [],
                ),
                ["rcs.suggestions: ignored, because rcs.carouselCard.cardContents[1] has its own"],
            ),
            (changed(CARD, "rcs.suggestions", []), []),
            (
                changed(
                    changed(CARD, "rcs.suggestions", _SUGGESTIONS),
                    "rcs.standaloneCard.cardContent.suggestions",
                    [],
                ),
                [],
            ),
        ],
    )
    def test_what_is_warned_of(self, whole, told):
        checked = MultichannelMessage.check(whole)
        warnings = checked.warnings
        assert len(warnings) == len(told)
        assert all(map(str.startswith, warnings, told)), warnings
        assert [warning for warning in warnings if warning.startswith("rcs.")] == checked.rcs.warnings


class TestPreview:
    def test_the_message(self):
        page = MultichannelMessage.check(changed(TEXT, "sms.text", "č" * 71)).preview_html()
        assert "Ahoj" in page
        assert "Koncert" in page
        assert "903123456" not in page
        assert "Karta" in Rcs.check(CARD["rcs"]).preview_html()

    def test_parts(self):
        assert [Sms(text="č" * n).parts for n in (70, 71, 134, 135)] == [1, 2, 2, 3]
        assert Sms(text="č" * 160, unicode=False).parts == 1


@settings(max_examples=60)
@given(strategies.messages())
def test_any_message_survives_json(value):
    checked = MultichannelMessage.check(value)
    payload = checked.payload()
    again = MultichannelMessage.check(json.loads(json.dumps(payload)))
    assert again == checked
    assert again.payload() == payload
    assert MultichannelMessage.check(python_names(payload)) == checked
    assert pickle.loads(pickle.dumps(checked)) == checked
    assert "null" not in re.sub('"(\\\\.|[^"\\\\])*"', '""', json.dumps(payload))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)
KEYS = sorted(set(re.findall(r"[A-Za-z]+", " ".join(case.path for case in CASES.values()))))


@given(
    st.sampled_from(PARTS),
    anything
    | st.recursive(
        anything,
        lambda inner: st.dictionaries(st.sampled_from(KEYS), inner | st.lists(inner, max_size=2), max_size=4),
        max_leaves=8,
    ),
)
def test_check_raises_nothing_else(model, value):
    try:
        checked = model.check(value)
    except InvalidMessageError:
        return
    assert model.check(json.loads(json.dumps(checked.payload()))) == checked


def test_an_action_needs_no_json():
    """As a person writes it who never saw the manual."""
    action = Action(text="Volať", postback_data="volat", dial=Dial(phone_number="+421800123456"))
    assert Suggestion(action=action).payload() == {
        "action": {"text": "Volať", "postbackData": "volat", "dial": {"phoneNumber": "+421800123456"}}
    }


def test_pure():
    """Neither Airflow nor a socket comes in with the models."""
    code = "import sys, airflow_provider_telekom_sms.api.rcs; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"airflow", "requests", "aiohttp", "sqlalchemy", "phonenumbers"} & set(loaded)
