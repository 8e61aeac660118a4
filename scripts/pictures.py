"""
Draws docs/pictures: previews of the manual's messages, the simulator's page, and the page of campaigns.

Needs Chromium on the PATH. The pictures are the same each time, as far as the machine's fonts are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from pictured_campaigns import campaigns_page

from airflow_provider_telekom_sms.preview import preview_html
from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN, Fault, State, serve
from airflow_provider_telekom_sms.simulator.page import page

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"
LARGEST = 190_000
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-quic", "--hide-scrollbars"),
]
THEMES = {"light": "1", "dark": "0"}
NOON = 1_760_176_800.0

CHANNELS = [{"type": "rcs", "ttl": 30}, {"type": "sms"}]
SMS = {"text": "Fallback SMS, pokiaľ príjemca nie je dostupný pre RCS"}


def reply(text: str, postback_data: str) -> dict[str, Any]:
    return {"reply": {"text": text, "postbackData": postback_data}}


def action(text: str, postback_data: str, **more: Any) -> dict[str, Any]:
    return {"action": {"text": text, "postbackData": postback_data, **more}}


def media(url: str, **more: Any) -> dict[str, Any]:
    return {**more, "contentInfo": {"fileUrl": url}}


YES_OR_NO = [reply("Áno", "yes"), reply("Nie", "no")]
LOGO = "https://www.telekom.sk/documents/10179/19896051/telekom-logo.png"
SUPPORT = action("Call support", "call_support", dial={"phoneNumber": "+421800123456"})
EVENT = {
    "title": "Event name",
    "description": "Event description",
    "startDateTime": "2025-05-16T14:00:00.00+02:00",
    "endDateTime": "2025-05-16T14:30:00.00+02:00",
}
HORIZONTAL = {
    "standaloneCard": {
        "cardOrientation": "HORIZONTAL",
        "thumbnailImageAlignment": "RIGHT",
        "cardContent": {"title": "Slovak Telekom", "media": media(LOGO), "suggestions": [SUPPORT]},
    }
}
APPOINTMENT = {
    "text": "Tešíme sa na Vás v predajni 🎉 Ak Vám termín nevyhovuje, nájdeme spolu iný.",
    "suggestions": [
        action("Add to calendar", "calendar", createCalendarEvent=EVENT),
        action("Slovak Telekom", "view_location", viewLocation={"query": "Slovak Telekom"}),
        action(
            "Telekom app",
            "test_text",
            openUrl={"url": "https://play.google.com/store/apps/details?id=com.telekom.portal"},
        ),
    ],
}
CAROUSEL = {
    "carouselCard": {
        "cardWidth": "MEDIUM",
        "cardContents": [
            {
                "title": "Google Karta",
                "description": "Karta s výškou obrázka SHORT",
                "media": media(
                    "https://services.google.com/fh/files/misc/google_g_icon_download.png", height="SHORT"
                ),
                "suggestions": [
                    action(
                        "Otvoriť Google",
                        "open_google",
                        fallbackUrl="https://google.com",
                        openUrl={"url": "https://google.com"},
                    )
                ],
            },
            {
                "title": "Telekom karta",
                "description": "Karta s výškou obrázka TALL",
                "media": media(LOGO, height="TALL"),
                "suggestions": [
                    action(
                        "Zavolať podporu",
                        "call_support",
                        fallbackUrl="https://telekom.sk",
                        dial={"phoneNumber": "0800123456"},
                    )
                ],
            },
        ],
    }
}
MESSAGES: dict[str, dict[str, Any]] = {
    "text": {"text": "Prajete si dostávať správy z tohto čísla?", "suggestions": YES_OR_NO},
    "file": {
        "file": {"url": "https://pdfobject.com/pdf/sample.pdf"},
        "suggestions": [
            action("Vyberte polohu", "test_text", fallbackUrl="https://google.com", shareLocation={})
        ],
    },
    "card-vertical": {
        "standaloneCard": {
            "cardOrientation": "VERTICAL",
            "cardContent": {
                "title": "StandaloneCard Titulka",
                "description": "StandaloneCard Popis",
                "media": media(
                    "https://www.google.com/logos/doodles/2015/googles-new-logo-5078286822539264.3-hp2x.gif",
                    height="TALL",
                ),
                "suggestions": YES_OR_NO,
            },
        }
    },
    "card-horizontal": HORIZONTAL,
    "carousel": CAROUSEL,
    "calendar": APPOINTMENT,
}
"""The manual's examples, and one more with a longer text."""

SIZES = {
    "text": (752, 740),
    "file": (752, 704),
    "card-vertical": (752, 930),
    "card-horizontal": (752, 684),
    "carousel": (928, 860),
    "calendar": (752, 826),
    "simulator": (1140, 1216),
    "simulator-empty": (900, 616),
}
CAMPAIGNS = {
    "campaigns": ("/telekom-sms-campaigns/", (1140, 712), "light"),
    "campaign": ("/telekom-sms-campaigns/c/7", (1040, 1712), "light"),
    "campaign-dark": ("/telekom-sms-campaigns/c/7", (1040, 850), "dark"),
    "campaign-doubts": ("/telekom-sms-campaigns/c/7/doubts", (1020, 1032), "light"),
    "campaigns-phone": ("/phones", (1220, 816), "light"),
}
"""Pages of campaigns, their sizes and themes."""


def shoot(browser: str, url: str, picture: Path, size: tuple[int, int], theme: str = "light") -> None:
    """
    Take a picture of a page.

    :param browser: its command
    :param url: of the page
    :param picture: the file
    :param size: in CSS pixels
    :param theme: light or dark
    """
    with tempfile.TemporaryDirectory(prefix="telekom-sms-pictures-") as profile:
        # A wide picture is shown smaller than it is, and needs no more pixels.
        look = [
            f"--window-size={size[0]},{size[1]}",
            f"--force-device-scale-factor={1 if size[0] > 1000 else 1.25}",
            f"--blink-settings=preferredColorScheme={THEMES[theme]}",
        ]
        files = [f"--user-data-dir={profile}", f"--screenshot={picture}"]
        command = [browser, *OPTIONS, *look, *files, url]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    weight = picture.stat().st_size
    print(f"{picture.name} {weight / 1000:.0f} kB")
    assert weight < LARGEST, f"{picture.name} is too large for the docs"


def pages() -> Iterator[tuple[str, str, str]]:
    """Return the name, the theme and the page of each picture that needs no server."""
    yield "simulator-empty", "light", page(State())
    for name, rcs in MESSAGES.items():
        yield name, "light", preview_html({"channels": CHANNELS, "rcs": rcs, "sms": SMS}, sms_parts=1)
    yield (
        "calendar",
        "dark",
        preview_html({"channels": CHANNELS, "rcs": APPOINTMENT, "sms": SMS}, sms_parts=1),
    )


def send(url: str, number: str, rcs: dict[str, Any] | None, sms: dict[str, Any]) -> int:
    """Send a message of v2; return its id."""
    channels = CHANNELS if rcs else CHANNELS[1:]
    body = {"recipients": [{"phone": number}], "channels": channels, "sms": sms}
    body |= {"rcs": rcs} if rcs else {}
    answer = requests.post(f"{url}/v2/messages", json=body, headers={"X-API-KEY": DEFAULT_TOKEN}, timeout=10)
    message_id: int = answer.json()["messages"][0]["messageId"]
    return message_id


def converse(url: str, state: State) -> None:
    """Fill a simulator with conversations that look the same each time."""
    order = {
        "text": "Vaša objednávka je pripravená na vyzdvihnutie 📦 Predajňa Telekom, Námestie SNP 18, "
        "Bratislava. Otvorené denne od 9:00 do 20:00.",
        "from": "Telekom",
    }
    sent = [
        (send(url, "+421903000001", None, {"text": "Táto správa neprišla."}), "UNDELIVERABLE", 0),
        (send(url, "+421903000008", APPOINTMENT, SMS), "QUEUED", 5),
        (send(url, "+421903000005", HORIZONTAL, SMS), "DELIVERED", 20),
        (send(url, "+421903000005", None, {"text": "Doplatok 12,50 €. Ďakujeme!"}), "SENT", 35),
        (send(url, "+421903000009", CAROUSEL, SMS), "DELIVERED", 50),
        (send(url, "+421903000000", None, order), "DELIVERED", 60),
        (send(url, "+421903000000", MESSAGES["text"], SMS), "READ", 125),
    ]
    tap = {"message_id": sent[-1][0], "postbackData": "yes", "text": "Áno"}
    requests.post(f"{url}/_simulator/click", data=tap, timeout=10).raise_for_status()
    for message_id, code, after in sent:
        message = state.message(message_id)
        assert message is not None
        state.set_status(message_id, code)
        message.taken_at = NOON + after
        for answer in message.replies:
            answer["time"] = NOON + after + 12
    state.order(Fault("drop_after", times=3))


def draw_campaigns(browser: str, folder: Path) -> None:
    """Draw the page of campaigns, with a ledger of its own."""
    os.environ |= {"AIRFLOW_HOME": str(folder), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    with campaigns_page(folder) as url:
        for path, _, _ in CAMPAIGNS.values():
            requests.get(url + path, timeout=10).raise_for_status()  # nothing is being counted any more
        for name, (path, size, theme) in CAMPAIGNS.items():
            shoot(browser, url + path, PICTURES / f"{name}.png", size, theme)


def main() -> None:
    """Draw all of them."""
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        sys.exit(f"No Chromium on the PATH; one of {', '.join(NAMES)} is needed to draw the pictures.")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="telekom-sms-pictures-") as folder:
        file = Path(folder) / "page.html"
        for name, theme, html in pages():
            file.write_text(html)
            shown = name if theme == "light" else f"{name}-{theme}"
            shoot(browser, file.as_uri(), PICTURES / f"{shown}.png", SIZES[name], theme)
    with serve() as simulator:
        converse(simulator.url, simulator.state)
        for theme, ending in {"light": "", "dark": "-dark"}.items():
            shoot(browser, simulator.url, PICTURES / f"simulator{ending}.png", SIZES["simulator"], theme)
        assert simulator.state.violations == []
    with tempfile.TemporaryDirectory(prefix="telekom-sms-pictures-") as folder:
        draw_campaigns(browser, Path(folder))


if __name__ == "__main__":
    main()
