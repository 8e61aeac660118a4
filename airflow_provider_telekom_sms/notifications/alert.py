"""What an alert says: what happened, and that in few parts with its link whole."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

from airflow_provider_telekom_sms.api.text import GSM_7, UCS_2, count, forcing_characters, normalize
from airflow_provider_telekom_sms.api.times import BRATISLAVA

#: So much of a text stays beside its link, or the link gives way.
SHORTEST = 20
#: No text of :data:`~airflow_provider_telekom_sms.api.text.MAX_PARTS` parts is longer.
_LONGEST = 459
#: The state of a run for which Airflow has none.
MISSED_DEADLINE = "missed_deadline"

_STATES = {
    "success": "Succeeded",
    "up_for_retry": "Failed, will be retried",
    MISSED_DEADLINE: "Deadline missed",
}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+")
_URL = re.compile(r"https?://\S+")
_AFTER_URL = ".,;:!?)]}>\"'"
#: What people and editors type for what GSM-7 has in a plainer form.
_PLAIN = {
    ord(character): plain
    for plain, characters in {"-": "‐‑‒–—―−•·", '"': "„“”‟«»", "'": "‘’‚‹›", "/": "⁄"}.items()
    for character in characters
}


@dataclass(frozen=True)
class Alert:
    """
    What happened, read from whatever context Airflow gives a callback; templates know it as ``alert``.

    :param dag_id: the DAG
    :param run_id: the run
    :param task_id: the task; None where the whole run is meant
    :param map_index: of a mapped task; None otherwise
    :param try_number: the task's try
    :param state: ``failed``, ``success``, ``up_for_retry`` …, or ``missed_deadline``
    :param reason: why Airflow ended the run, in its own words
    :param deadline: when it should have been done
    :param link: to the task's log, or to the run
    :param run_link: to the run, which is shorter
    """

    dag_id: str
    run_id: str
    task_id: str | None = None
    map_index: int | None = None
    try_number: int | None = None
    state: str = "failed"
    reason: str = ""
    deadline: datetime | None = None
    link: str = ""
    run_link: str = ""

    @classmethod
    def read(cls, context: Mapping[str, Any], base_url: str) -> Alert:
        """
        Read the context of a task's, a run's or a deadline's callback; what it lacks is left out.

        :param context: Airflow's context
        :param base_url: where Airflow's UI is
        """
        ti, run = context.get("ti") or context.get("task_instance"), context.get("dag_run")
        dag_id = _first(ti, "dag_id") or _first(context.get("dag"), "dag_id") or _first(run, "dag_id")
        run_id = context.get("run_id") or _first(ti, "run_id") or _first(run, "run_id", "dag_run_id")
        alert = cls(str(dag_id or "?"), str(run_id or "?"), reason=str(context.get("reason") or ""))
        if dag_id and run_id:
            link = f"{base_url.rstrip('/')}/dags/{dag_id}/runs/{quote(alert.run_id)}"
            alert = replace(alert, link=link, run_link=link)
        if deadline := context.get("deadline"):
            moment = _moment(_first(deadline, "deadline_time"))
            return replace(alert, state=MISSED_DEADLINE, deadline=moment)
        if ti is None or alert.reason:
            return replace(alert, state="success" if alert.reason == "success" else "failed")
        return alert._of_task(ti)

    def _of_task(self, ti: Any) -> Alert:
        state, index = _first(ti, "state"), _first(ti, "map_index")
        return replace(
            self,
            task_id=_first(ti, "task_id"),
            map_index=index if isinstance(index, int) and index >= 0 else None,
            try_number=_first(ti, "try_number"),
            # Where a worker was lost, the context tells no state.
            state=str(getattr(state, "value", state) or "failed"),
            link=str(_first(ti, "log_url") or self.link),
        )

    @property
    def text(self) -> str:
        """What is sent where the author of the DAG gave no text."""
        return f"{self._happened}, run {self.run_id} {self.link}".rstrip()

    @property
    def brief(self) -> str:
        """The same where that is too long: of which run, the link tells."""
        return f"{self._happened} {self.link}".rstrip()

    @property
    def _happened(self) -> str:
        index = "" if self.map_index is None else f"[{self.map_index}]"
        what = f"{self.dag_id}.{self.task_id}{index}" if self.task_id else self.dag_id
        # First what a text that is cut must not lose; of which task, the link tells, too.
        told = _STATES.get(self.state, self.state.capitalize())
        with suppress(ValueError, OverflowError):
            if self.deadline:
                told += f" ({self.deadline.astimezone(BRATISLAVA):%d.%m. %H:%M})"
        if self.try_number:
            what += f" (try {self.try_number})"
        if self.reason not in ("", "success"):
            what += f" ({self.reason})"
        return f"{told}: {what}"


def _first(thing: Any, *names: str) -> Any:
    """Give the first of these that an object or a mapping has."""
    for name in names:
        # Whatever is amiss there, the alert goes out without it.
        with suppress(Exception):
            value = thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)
            if value is not None:
                return value
    return None


def _moment(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, datetime) else None


def cleaned(text: str, unicode: bool | None) -> str:
    """
    Make of a rendered text one that can be sent: no control characters, and GSM-7 only if it was asked for.

    :param text: the text; an exception's message may hold anything
    :param unicode: False replaces or drops what would be sent as Unicode, but for diacritics: those the API
        removes itself
    """
    text = _CONTROL.sub(" ", text).strip()
    if unicode is not False:
        return text
    forced = {character for _, character in forcing_characters(text, False)}
    return normalize(text).translate({ord(one): _in_gsm(one) for one in forced}).strip()


def _in_gsm(character: str) -> str:
    plain = unicodedata.normalize("NFKD", character).translate(_PLAIN)
    if count(plain).encoding == GSM_7:
        return plain
    # Emoji and what belongs to them say little in an alert; a letter should be seen to be missing.
    return "" if unicodedata.category(character)[0] in "SMC" else "?"


def fit(text: str, alert: Alert, *, max_parts: int, unicode: bool | None, note: str = "") -> str:
    """
    Shorten a text to a number of SMS parts, with its link whole at the end or not at all.

    :param text: the text; its link is the alert's, or the last one that it has
    :param alert: a link to the task's log gives way to the shorter one to its run
    :param max_parts: parts to fit into
    :param unicode: as for :func:`~airflow_provider_telekom_sms.api.text.count`
    :param note: what must not be cut off, before the link
    """
    text = cleaned(text, unicode)
    if not note and count(text, unicode).parts <= max_parts:
        return text
    texts = [text, cleaned(alert.brief, unicode)] if text == cleaned(alert.text, unicode) else [text]
    return next(
        shorter
        for shorter in _ever_shorter(texts, alert, unicode, note)
        if count(shorter, unicode).parts <= max_parts
    )


def _ever_shorter(texts: list[str], alert: Alert, unicode: bool | None, note: str) -> Iterator[str]:
    bodies = [_without_link(text, alert)[0] for text in texts]
    link = _without_link(texts[0], alert)[1]
    links = [link, alert.run_link] if link and link == alert.link else [link]
    for tail in links:
        yield from (f"{body}{note} {tail}".rstrip() for body in bodies)
    dots = "…" if count(texts[0], unicode).encoding == UCS_2 else "..."
    for tail in dict.fromkeys([*links, ""]):
        body, end = bodies[-1 if tail else 0], f"{note} {tail}".rstrip()
        yield f"{body}{end}"
        for length in range(min(len(body) - 1, _LONGEST), SHORTEST if tail else -1, -1):
            yield f"{body[:length].rstrip()}{dots}{end}"


def _without_link(text: str, alert: Alert) -> tuple[str, str]:
    """Take the link out of a text: the alert's, or the last one."""
    found = {match.start(): match[0].rstrip(_AFTER_URL) for match in _URL.finditer(text)}
    if not found:
        return text, ""
    start = next((at for at, url in found.items() if url in (alert.link, alert.run_link)), max(found))
    link = found[start]
    return f"{text[:start].rstrip()} {text[start + len(link) :].lstrip()}".strip(), link
