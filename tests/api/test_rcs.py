from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_telekom_sms.api import rcs
from airflow_provider_telekom_sms.api.messages import (
    Action,
    CallbackUrl,
    CardContent,
    Channel,
    Dial,
    Media,
    MultichannelMessage,
    Rcs,
    Recipient,
    Sms,
    StandaloneCard,
    Suggestion,
)
from airflow_provider_telekom_sms.exceptions import InvalidMessageError, InvalidPhoneNumberError
from tests.api.manual_v2 import FRAGMENTS, MESSAGES, examples, read

LOGO = "https://www.telekom.sk/documents/10179/19896051/telekom-logo.png"
GOOGLE = "https://services.google.com/fh/files/misc/google_g_icon_download.png"
DOODLE = "https://www.google.com/logos/doodles/2015/googles-new-logo-5078286822539264.3-hp2x"
STORES = "https://www.telekom.sk/documents/10179/19720195/spolupraca.jpg"
APP = "https://play.google.com/store/apps/details?id=com.telekom.portal"
HOME = "https://www.telekom.sk"


def over_rcs_or_sms(content: Rcs) -> MultichannelMessage:
    return MultichannelMessage(
        recipients=[Recipient(phone="+421903123456")],
        channels=[Channel(type="rcs", ttl=30), Channel(type="sms")],
        callback_urls=[CallbackUrl(url="https.zakaznik.app/callback", types=["postback", "dsn"])],
        rcs=content,
        sms=Sms(text="Fallback SMS, pokiaľ príjemca nie je dostupný pre RCS"),
    )


class Messages:
    """What the whole messages of the manual say over RCS."""

    @staticmethod
    def text():
        return rcs.text("Prajete si dostávať správy z tohto čísla?", replies={"Áno": "yes", "Nie": "no"})

    @staticmethod
    def file():
        ask = rcs.ask_location("Vyberte polohu", postback="test_text", fallback_url="https://google.com")
        return rcs.file("https://pdfobject.com/pdf/sample.pdf", suggestions=[ask])

    @staticmethod
    def standaloneCard():
        title, text, buttons = "StandaloneCard Titulka", "StandaloneCard Popis", {"Áno": "yes", "Nie": "no"}
        card = rcs.card(title, text, image=f"{DOODLE}.gif", height="TALL", buttons=buttons)
        return rcs.single(card, image_side="LEFT")

    @staticmethod
    def carouselCard():
        url, dial = "https://google.com", Dial(phone_number="0800123456")
        link = rcs.link("Otvoriť Google", url, postback="open_google", fallback_url=url)
        support = {"text": "Zavolať podporu", "postback_data": "call_support"}
        call = Suggestion(action=Action(**support, fallback_url="https://telekom.sk", dial=dial))
        short, tall = "Karta s výškou obrázka SHORT", "Karta s výškou obrázka TALL"
        first = rcs.card("Google Karta", short, image=GOOGLE, height="SHORT", buttons=[link])
        second = rcs.card("Telekom karta", tall, image=LOGO, height="TALL", buttons=[call])
        return rcs.carousel([first, second])


class Fragments:
    """The fragments that are about RCS."""

    @staticmethod
    def file():
        return rcs.file(f"{DOODLE}.gif", force_refresh=True, suggestions=[])

    @staticmethod
    def standaloneCard():
        call = rcs.call("Call support", "0800 123 456", postback="call_support")
        card = rcs.card("Slovak Telekom", image=LOGO, height=None, buttons=[call])
        placing = {"card_orientation": "HORIZONTAL", "thumbnail_image_alignment": "RIGHT", "height": "TALL"}
        return Rcs(standalone_card=StandaloneCard(**placing, card_content=card))

    @staticmethod
    def carouselCard():
        more = {"postback": "open_url_nearby_stores", "fallback_url": f"{HOME}/"}
        show = rcs.show_location("Show stores", "Slovak Telekom store", **more)
        call = rcs.call("Call customer support", "0800123456", **more | {"postback": "dial_support"})
        links = [
            rcs.link("Calls", f"{HOME}/volania", postback="open_url_calls"),
            rcs.link("Internet", f"{HOME}/internet", postback="open_url_internet"),
            rcs.link("Television", f"{HOME}/televizia", postback="open_url_tv"),
            rcs.link("Download app", APP, postback="open_url_app"),
        ]
        stores = rcs.card("Slovak Telekom Stores", image=STORES, height="TALL", buttons=[show, call])
        return rcs.carousel([stores, rcs.card("Slovak Telekom", image=LOGO, buttons=links)])


SUGGESTIONS = {
    "suggestions.reply": lambda: rcs.reply("Yes", "yes"),
    "dial": lambda: rcs.call("Call support", "0800/123 456", postback="call_support"),
    "viewLocation": lambda: rcs.show_location("Slovak Telekom", "Slovak Telekom", postback="view_location"),
    "openUrl": lambda: rcs.link("Telekom app", APP, description="Popis url", postback="test_text"),
    "createCalendarEvent": lambda: rcs.calendar(
        "Add to calendar",
        title="Event name",
        description="Event description",
        start="2025-05-16T14:00:00.00+02:00",
        end="2025-05-16T14:30:00.00+02:00",
        postback="calendar",
    ),
}


def lines(function) -> int:
    """How many a person writes for it, without the function around it."""
    source = inspect.getsource(function).splitlines()
    return len(source) - next(i for i, line in enumerate(source) if line.lstrip().startswith("def ")) - 1


class TestManual:
    @pytest.mark.parametrize("name", MESSAGES)
    def test_a_whole_message(self, name):
        build = getattr(Messages, name)
        assert over_rcs_or_sms(build()).payload() == read(MESSAGES[name])
        text = MESSAGES[name].strip().splitlines()
        content = text[[line.strip() for line in text].index('"rcs": {') :]
        assert lines(build) <= (8 if name == "carouselCard" else 3)
        assert lines(build) * 5 < len(content)
        assert lines(build) + lines(over_rcs_or_sms) < len(text)

    @pytest.mark.parametrize("name", ["file", "standaloneCard", "carouselCard"])
    def test_a_fragment(self, name):
        build = getattr(Fragments, name)
        assert build().payload() == read(FRAGMENTS[f"rcs.{name}"])["rcs"]
        assert lines(build) * 4 < len(FRAGMENTS[f"rcs.{name}"].strip().splitlines())

    @pytest.mark.parametrize("name", SUGGESTIONS)
    def test_a_suggestion(self, name):
        assert SUGGESTIONS[name]().payload() == read(FRAGMENTS[name])

    def test_the_list_of_suggestions(self):
        call = rcs.call("Call support", "+421800123456", postback="call_support")
        built = rcs.text("Ahoj", replies={"Yes": "yes", "No": "no"}, suggestions=[call])
        assert built.payload() == examples()["suggestions"]["rcs"]

    def test_a_place(self):
        place = read(FRAGMENTS["latLong"])
        (built,) = rcs.text(
            "a", suggestions=[rcs.show_location("a", **place, label="Lomnický štít")]
        ).suggestions
        assert built.action.view_location.payload() == {"latLong": place, "label": "Lomnický štít"}

    def test_the_picture_of_a_card(self):
        media = rcs.card(
            image=f"{DOODLE}.gif", thumbnail_url=f"{DOODLE}-thumbnail.gif", force_refresh=True
        ).media
        assert media == Media.check({"height": "MEDIUM", **read(FRAGMENTS["contentInfo"])})


class TestButtons:
    def test_what_comes_back_is_the_text(self):
        built = rcs.text("Prídete?", replies=["Áno", "Nie"])
        assert [s.reply.payload() for s in built.suggestions] == [
            {"text": "Áno", "postbackData": "Áno"},
            {"text": "Nie", "postbackData": "Nie"},
        ]
        assert rcs.link("Telekom", HOME).action.postback_data == "Telekom"

    def test_texts_and_suggestions_in_one_list(self):
        link = rcs.link("Zobraziť", HOME)
        assert rcs.card("a", buttons=["Áno", link]).suggestions == (rcs.reply("Áno"), link)
        assert rcs.file(HOME, suggestions=("Áno", link)).suggestions == (rcs.reply("Áno"), link)
        assert rcs.text("a", replies=["Áno"], suggestions=[link]).suggestions == (rcs.reply("Áno"), link)

    def test_none(self):
        assert rcs.text("a").payload() == {"text": "a"}
        assert rcs.card("a").payload() == {"title": "a"}
        assert rcs.text("a", replies=[]).payload() == {"text": "a"}

    @pytest.mark.parametrize("wrong", ["Áno", b"ano", 5, {"Áno"}, iter(["Áno"])])
    @pytest.mark.parametrize(
        ("name", "build"),
        [
            ("replies", lambda wrong: rcs.text("a", replies=wrong)),
            ("suggestions", lambda wrong: rcs.text("a", suggestions=wrong)),
            ("suggestions", lambda wrong: rcs.file(HOME, suggestions=wrong)),
            ("buttons", lambda wrong: rcs.card("a", buttons=wrong)),
        ],
    )
    def test_no_list(self, name, build, wrong):
        with pytest.raises(InvalidMessageError, match=f"^{name}: found .*, allowed are lists") as error:
            build(wrong)
        assert "Áno" not in str(error.value)

    @pytest.mark.parametrize("wrong", [5, None, ["Áno"]])
    def test_no_button(self, wrong):
        with pytest.raises(InvalidMessageError, match=r"^reply\.text: "):
            rcs.text("a", replies=["Áno", wrong])

    def test_too_many_and_too_long(self):
        with pytest.raises(InvalidMessageError, match=r"^rcs\.suggestions: found 12, allowed are 0 to 11$"):
            rcs.text("a", replies=list("123456789abc"))
        with pytest.raises(InvalidMessageError, match=r"^reply\.text: found a text of 26 characters"):
            rcs.reply("x" * 26)


class TestCall:
    @pytest.mark.parametrize(
        "number",
        ["0903123456", "0903 123 456", "+421903123456", "00421 903 123 456", "421903123456", "903123456"],
    )
    def test_any_spelling(self, number):
        assert rcs.call("Volať", number).action.dial.phone_number == "+421903123456"

    def test_no_mobile(self):
        assert rcs.call("Volať", "02/5724 0000").action.dial.phone_number == "+421257240000"

    @pytest.mark.parametrize("number", ["112", "+420903123456", "", None, 903123456])
    def test_no_number(self, number):
        with pytest.raises(InvalidPhoneNumberError):
            rcs.call("Volať", number)


class TestCards:
    def test_one(self):
        card = rcs.card("Faktúra", image=LOGO)
        assert rcs.single(card, orientation="HORIZONTAL", image_side="RIGHT", sender="Telekom").payload() == {
            "standaloneCard": {
                "cardOrientation": "HORIZONTAL",
                "thumbnailImageAlignment": "RIGHT",
                "cardContent": {
                    "title": "Faktúra",
                    "media": {"height": "MEDIUM", "contentInfo": {"fileUrl": LOGO}},
                },
            },
            "from": "Telekom",
        }

    def test_ignored_buttons_are_warned_of(self):
        card = rcs.card("a", buttons=["b"])
        (warning,) = rcs.carousel([card, card], suggestions=["c"]).warnings
        assert warning.startswith("rcs.suggestions: ignored")

    def test_small_and_tall(self):
        cards = [rcs.card("a"), rcs.card("b", image=LOGO, height="TALL")]
        assert isinstance(cards[0], CardContent)
        with pytest.raises(
            InvalidMessageError, match=r"^carouselCard\.cardContents\[1\]\.media\.height: found 'TALL'"
        ):
            rcs.carousel(cards, width="SMALL")
        assert rcs.carousel(cards).warnings == []

    def test_a_picture_that_is_described_but_not_there(self):
        with pytest.raises(InvalidMessageError, match=r"^image: missing, but required with thumb"):
            rcs.card("a", thumbnail_url=LOGO)


class TestCalendar:
    @pytest.mark.parametrize(
        ("start", "end", "times"),
        [
            (
                datetime(2026, 5, 16, 14),
                timedelta(minutes=30),
                ("2026-05-16T14:00:00+02:00", "2026-05-16T14:30:00+02:00"),
            ),
            (
                datetime(2026, 5, 16, 14, tzinfo=UTC),
                datetime(2026, 5, 16, 17),
                ("2026-05-16T16:00:00+02:00", "2026-05-16T17:00:00+02:00"),
            ),
            # Through the night in which the clocks go back: three hours all the same.
            (
                datetime(2026, 10, 25, 1),
                timedelta(hours=3),
                ("2026-10-25T01:00:00+02:00", "2026-10-25T03:00:00+01:00"),
            ),
            (
                "2026-05-16T14:00:00Z",
                timedelta(hours=1),
                ("2026-05-16T14:00:00Z", "2026-05-16T17:00:00+02:00"),
            ),
        ],
    )
    def test_times(self, start, end, times):
        event = rcs.calendar("Pridať", title="a", description="a", start=start, end=end)
        event = event.action.create_calendar_event
        assert (event.start_date_time, event.end_date_time) == times

    @pytest.mark.parametrize(
        ("start", "end", "path"),
        [
            (datetime(2026, 5, 16, 14), timedelta(0), "createCalendarEvent.endDateTime"),
            (datetime(2026, 5, 16, 14), datetime(2026, 5, 16, 13), "createCalendarEvent.endDateTime"),
            (datetime(2026, 3, 29, 2, 30), timedelta(hours=1), "createCalendarEvent.startDateTime"),
            ("soon", timedelta(hours=1), "createCalendarEvent.startDateTime"),
            (datetime(2026, 5, 16, 14), timedelta.max, "createCalendarEvent.endDateTime"),
            (datetime(2026, 5, 16, 14), 30, "createCalendarEvent.endDateTime"),
        ],
    )
    def test_no_event(self, start, end, path):
        with pytest.raises(InvalidMessageError, match=f"^{path}: found"):
            rcs.calendar("Pridať", title="a", description="a", start=start, end=end)
