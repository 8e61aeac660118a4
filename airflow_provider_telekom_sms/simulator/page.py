"""The simulator's page: every number a phone, with the messages it got and the suggestions tapped on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from airflow_provider_telekom_sms.preview import Tap, bubble_html, document, escaped, phone_html
from airflow_provider_telekom_sms.simulator.records import Message
from airflow_provider_telekom_sms.simulator.state import DEFAULT_TOKEN, State, local_time

CLICK = "/_simulator/click"
"""Where a tapped suggestion is posted, as a form with ``message_id``, ``postbackData`` and ``text``."""

MOST_PHONES = 50
MOST_MESSAGES = 20
MOST_VIOLATIONS = 10

_KINDS = {
    "DELIVERED": "good",
    "READ": "good",
    "ERROR": "doubt",
    "UNKNOWN": "doubt",
    "DELETED": "bad",
    "DENIED": "bad",
    "EXPIRED": "bad",
    "UNDELIVERABLE": "bad",
}

_EXAMPLE = {
    "recipients": [{"phone": "+421903000000"}],
    "channels": [{"type": "rcs", "ttl": 30}, {"type": "sms"}],
    "rcs": {
        "text": "Prajete si dostávať správy z tohto čísla?",
        "suggestions": [
            {"reply": {"text": "Áno", "postbackData": "yes"}},
            {"reply": {"text": "Nie", "postbackData": "no"}},
        ],
    },
    "sms": {"text": "Prajete si dostávať správy? Odpovedzte ANO alebo NIE."},
}


def page(state: State, url: str = "http://127.0.0.1:8084") -> str:
    """
    Return the page as HTML; it needs no script and fetches nothing.

    :param state: the simulator's memory
    :param url: the simulator's base URL, for the examples of an empty page
    """
    phones = _phones(state) or _empty(state, url.rstrip("/"))
    body = f"<main>{_header(state)}{_violations(state)}{_faults(state)}{phones}</main>"
    return document("Telekom API simulator", body, style=_STYLE, forms=True)


def _header(state: State) -> str:
    summary = state.summary()
    counts = "".join(
        f"<div{' class=bad' if name == 'violations' and summary[name] else ''}>"
        f"<dt>{name}</dt><dd>{summary[name]:,}</dd></div>"
        for name in ("messages", "numbers", "requests", "logins", "callbacks", "violations")
    )
    return (
        '<header><h1>Telekom API simulator</h1><a class="reload" href="/">Reload</a>'
        f'<dl class="counts">{counts}</dl></header>'
    )


def _violations(state: State) -> str:
    texts = state.violations
    if not texts:
        return ""
    heading = "Deviations from the manual"
    if len(texts) > MOST_VIOLATIONS:
        heading += f": the last {MOST_VIOLATIONS} of {len(texts):,}"
    items = "".join(f"<li>{escaped(text)}</li>" for text in reversed(texts[-MOST_VIOLATIONS:]))
    return f'<section class="panel bad"><h2>{heading}</h2><ul>{items}</ul></section>'


def _faults(state: State) -> str:
    items = "".join(
        f"<li><b>{escaped(fault.name)}</b> on {escaped(fault.endpoint)}: "
        f"hit {fault.hits} of {'any number' if fault.times is None else fault.times}</li>"
        for fault in state.faults
    )
    return f'<section class="panel doubt"><h2>Faults on order</h2><ul>{items}</ul></section>' if items else ""


# The phones.


def _phones(state: State) -> str:
    conversations: dict[str, list[Message]] = {}
    for message in reversed(state.messages):
        conversations.setdefault(message.number, []).append(message)
    newest = list(conversations.items())[:MOST_PHONES]
    shown = "".join(_phone(state, number, messages) for number, messages in newest)
    more = len(conversations) - len(newest)
    note = f'<p class="note">{more:,} more {"number has" if more == 1 else "numbers have"} messages.</p>'
    return (f'<div class="grid">{shown}</div>' + (note if more else "")) if shown else ""


def _phone(state: State, number: str, messages: list[Message]) -> str:
    """Draw a conversation; its messages come newest first and are shown oldest first."""
    older, shown = len(messages) - MOST_MESSAGES, reversed(messages[:MOST_MESSAGES])
    note = f'<p class="note">{older:,} earlier {"message" if older == 1 else "messages"}</p>'
    moments = [moment for message in shown for moment in _moments(state, message)]
    conversation, day = [note] if older > 0 else [], ""
    for moment, html in sorted(moments, key=itemgetter(0)):
        if (date := local_time(moment)[:10]) != day:
            conversation.append(f'<p class="day">{date}</p>')
            day = date
        conversation.append(html)
    return phone_html(_spaced(number), "".join(conversation))


def _moments(state: State, message: Message) -> list[tuple[float, str]]:
    """Return a message and the replies to it, each with its time."""
    replies = [(reply["time"], _reply(reply)) for reply in list(message.replies)]
    return [(message.taken_at, _message(state, message)), *replies]


def _message(state: State, message: Message) -> str:
    channel = message.channel
    body = message.body or {channel: {"text": message.text}}
    tap = Tap(CLICK, {"message_id": str(message.id)})
    code, arrived = message.status(*state.clock())
    since = "" if arrived is None else f' title="arrived {local_time(arrived)}"'
    facts = [
        f'<b class="status {_KINDS.get(code, "way")}"{since}>{escaped(code)}</b>',
        f"<span>{channel.upper()}</span>",
        *_named("from", body[channel].get("from", message.parameters.get("from"))),
        _clock(message.taken_at),
        f"<span>{message.parts} {'part' if message.parts == 1 else 'parts'}</span>",
        f"<span>#{message.id}</span>",
        *_named("externalId", message.external_id),
    ]
    return (
        f'<article class="message">{bubble_html(body, channel, tap=tap)}'
        f'<p class="facts">{" ".join(facts)}</p></article>'
    )


def _reply(reply: Mapping[str, Any]) -> str:
    facts = ["<span>tapped</span>", _clock(reply["time"]), *_named("postbackData", reply["postbackData"])]
    return (
        f'<article class="message own"><p class="bubble" dir="auto">{escaped(reply["text"])}</p>'
        f'<p class="facts">{" ".join(facts)}</p></article>'
    )


def _named(name: str, value: str | None) -> list[str]:
    return [] if value is None else [f'<span>{name} <code dir="auto">{escaped(value)}</code></span>']


def _clock(moment: float) -> str:
    local = local_time(moment)
    return f'<time datetime="{local}">{local[11:]}</time>'


def _spaced(number: str) -> str:
    return f"+{number[:3]} {number[3:6]} {number[6:9]} {number[9:]}"


# The page before the first message.


def _empty(state: State, url: str) -> str:
    keys = list(state.settings.tokens)
    # A key that somebody has chosen is not shown: it may be a real one.
    key = DEFAULT_TOKEN if DEFAULT_TOKEN in keys else "YOUR-KEY"
    curl = " \\\n  ".join(
        [
            f"curl -X POST {url}/v2/messages",
            f"-H 'X-API-KEY: {key}'",
            "-H 'Accept: application/json' -H 'Content-Type: application/json'",
            f"-d '{json.dumps(_EXAMPLE, ensure_ascii=False)}'",
        ]
    )
    connection = json.dumps({"conn_type": "telekom_sms", "host": url, "password": key}, indent=2)
    return (
        '<section class="panel empty"><h2>No message yet</h2><p>Send one, then reload this page:</p>'
        f"<pre>{escaped(curl)}</pre><p>Or let Airflow send here, with this as the connection "
        "<code>telekom_sms_default</code>, or as <code>AIRFLOW_CONN_TELEKOM_SMS_DEFAULT</code>:</p>"
        f"<pre>{escaped(connection)}</pre></section>"
    )


_STYLE = """
:root{--good:#0a6336;--good-on:#d8f1e2;--bad:#9c1229;--bad-on:#fbe2e5;--doubt:#704400;--doubt-on:#fcebc9;
--way:#2f4a78;--way-on:#e0e8f6}
@media(prefers-color-scheme:dark){:root{--good:#93e3b4;--good-on:#173626;--bad:#ffb0b8;--bad-on:#471b22;
--doubt:#f6d28c;--doubt-on:#40310f;--way:#b8cdf4;--way-on:#22304a}}
.good{color:var(--good);background:var(--good-on)}.bad{color:var(--bad);background:var(--bad-on)}
.doubt{color:var(--doubt);background:var(--doubt-on)}.way{color:var(--way);background:var(--way-on)}
header{display:flex;flex-wrap:wrap;align-items:center;gap:14px 20px;margin-bottom:24px}
header h1{margin:0;flex:1}
.reload{color:var(--accent);font-weight:600;border:1px solid var(--accent);border-radius:18px;
padding:5px 16px;text-decoration:none}
.counts{display:flex;flex-wrap:wrap;gap:10px;margin:0;flex-basis:100%}
.counts div{border:1px solid var(--line);border-radius:14px;padding:8px 16px;min-width:104px}
.counts div:not(.bad){background:var(--screen)}
dt{font-size:13px}.counts div:not(.bad) dt{color:var(--soft)}
dd{margin:0;font-size:20px;line-height:1.25;font-weight:600;font-variant-numeric:tabular-nums}
.panel{border-radius:16px;padding:14px 18px;margin-bottom:20px;font-size:14px}
.panel h2{margin-bottom:6px}.panel li{margin-top:2px}
.empty{background:var(--screen);border:1px solid var(--line);padding:20px 22px}
.empty p{margin-top:14px}
pre{margin:8px 0 0;padding:12px 14px;background:var(--bubble);border-radius:10px;white-space:pre-wrap;
overflow-wrap:anywhere;font:13px/1.5 ui-monospace,"DejaVu Sans Mono",monospace}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(344px,100%),1fr));gap:28px 24px;
align-items:start;justify-items:start}
.grid+.note{margin-top:24px}
.day{align-self:center;color:var(--soft);font-size:12px}
.message{display:flex;flex-direction:column;align-items:flex-start;align-self:stretch;gap:8px;min-width:0;
margin-bottom:6px}
.message>*{max-width:100%}.message>.bubble{max-width:88%}
.own{align-items:flex-end}
.own .bubble{background:var(--own);color:#fff;border-radius:20px 20px 6px 20px}
.facts{display:flex;flex-wrap:wrap;align-items:center;gap:2px 8px;color:var(--soft);font-size:12px}
.own .facts{justify-content:flex-end}
.status{font-weight:600;font-size:11px;letter-spacing:.03em;border-radius:6px;padding:2px 7px}
form{margin:0;display:contents}
"""
