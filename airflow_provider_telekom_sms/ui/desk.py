"""Answers what the page is asked: reads the ledger in threads of the page's own, and fills templates."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from fastapi import HTTPException, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException as AnyHTTPException

from airflow_provider_telekom_sms.exceptions import (
    ConfigurationError,
    LedgerError,
    LedgerUnavailableError,
    TelekomSmsError,
)
from airflow_provider_telekom_sms.ledger import actions, overview, reporting
from airflow_provider_telekom_sms.ledger.overview import Campaign, Place
from airflow_provider_telekom_sms.ledger.store import Ledger, storable
from airflow_provider_telekom_sms.ui import forms, shown
from airflow_provider_telekom_sms.ui.access import Seal, Visitor, comes_from_here
from airflow_provider_telekom_sms.ui.forms import Form
from airflow_provider_telekom_sms.ui.mount import PREFIX
from airflow_provider_telekom_sms.ui.source import PATIENCE, Source

log = logging.getLogger(__name__)

#: Rows and campaigns of a page.
ROWS = 50
#: Plans and tries that a campaign's page names.
NAMED = 10
#: Pages and forms that are worked on at once, that wait for it, and seconds that one may take.
AT_ONCE, FORMS_AT_ONCE, WAITING, LONGEST = 4, 2, 40, 20.0
#: Said of a form that came to no end.
PERHAPS = "It may still be done: load the page and look before you send it again."
#: Seconds after which a page that shows work in progress is loaded again, and one that is still counting.
RELOAD, RELOAD_SOON = 10, 2
#: Campaigns have no greater number.
LARGEST = 2**63 - 1
#: A cookie that tells what was just done; it holds nothing but a name and a number.
TOLD = "telekom_sms_told"
STATIC = {
    "page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml",
    "icon-dark.svg": "image/svg+xml",
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """A request, by whom, and what it is about."""

    request: Request
    who: Visitor
    form: Form
    ledger: Ledger
    number: int

    @property
    def root(self) -> str:
        """The path under which the page stands."""
        return str(self.request.scope.get("root_path", ""))

    def given(self, name: str) -> str:
        """Give a parameter of the URL; empty where it is not there."""
        return storable(self.request.query_params.get(name, "")[:500]).strip()

    @property
    def whole(self) -> bool:
        """Whether numbers are shown whole: only to those who may, and ask for it."""
        return self.who.may_see_numbers and self.given("numbers") == "1"

    @property
    def after(self) -> Place | None:
        """Behind which row a page begins."""
        match = re.fullmatch(r"(\d{1,18})\.(\d{1,9})\.(\d{1,18})", self.given("after"), re.ASCII)
        return Place(*map(int, match.groups())) if match else None

    @property
    def before(self) -> int | None:
        """Before which campaign a page begins."""
        given = self.given("before")
        return int(given) if re.fullmatch(r"\d{1,18}", given, re.ASCII) else None

    def campaign(self) -> Campaign:
        """Give the campaign that it is about."""
        found = overview.campaign(self.ledger, self.number) if self.number <= LARGEST else None
        if found is None:
            raise HTTPException(404, "There is no such campaign; it may have been purged.")
        return found


class Desk:
    """
    Answers requests.

    :param source: the ledger
    :param seal: seals forms
    :param base_url: ``[api] base_url``
    """

    def __init__(self, source: Source, seal: Seal, base_url: str) -> None:
        self._source, self._seal, self._base_url = source, seal, base_url
        self._readers = ThreadPoolExecutor(AT_ONCE, "telekom-sms-page")
        # They wait for tasks that write, and nobody who only looks shall.
        self._writers = ThreadPoolExecutor(FORMS_AT_ONCE, "telekom-sms-form")
        self._at_work = 0
        folder = files("airflow_provider_telekom_sms.ui") / "static"
        self._static = {name: (folder / name).read_bytes() for name in STATIC}
        version = hashlib.sha256(b"".join(self._static.values())).hexdigest()[:12]
        self._templates = _templates(version)

    # How requests are answered.

    async def answer(
        self, request: Request, who: Visitor, work: Callable[[Asked], Response], number: int = 0
    ) -> Response:
        """
        Answer a request in a thread of the page's own.

        :param work: makes the answer
        :param number: the campaign's number in the ledger, where it is about one
        """
        form, threads = Form(), self._readers
        if request.method == "POST":
            form, threads = await forms.read(request), self._writers
            self._check(request, who, form, number)
        if self._at_work >= WAITING:
            return self._fail(request, 503, "Too many look at campaigns at once", "Try again in a minute.")
        self._at_work += 1
        try:
            async with asyncio.timeout(LONGEST):
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(threads, self._work, request, who, form, number, work)
        except TimeoutError:
            told = PERHAPS if request.method == "POST" else "Try again in a minute."
            return self._fail(request, 503, "The ledger takes too long", told)
        finally:
            self._at_work -= 1

    def _check(self, request: Request, who: Visitor, form: Form, number: int) -> None:
        """Refuse what was not sent by this user from a page of ours."""
        if not who.may_act:
            raise HTTPException(403, "You may look at campaigns, and not change them. Nothing was changed.")
        is_ours = comes_from_here(request.headers, self._base_url)
        if not is_ours or not self._seal.fits(form["seal"], who.id, _purpose(number)):
            raise HTTPException(
                403,
                "This form is too old, or was not made for you. Go back, load the page again, and send it "
                "once more. Nothing was changed.",
            )

    def _work(
        self, request: Request, who: Visitor, form: Form, number: int, work: Callable[[Asked], Response]
    ) -> Response:
        ledger = None
        try:
            ledger = self._source.ledger()
            if ledger is None:
                return self._empty(request, who)
            return work(Asked(request, who, form, ledger, number))
        except HTTPException as error:
            return self._fail(request, error.status_code, *_said(error))
        except (LedgerError, ConfigurationError) as error:
            self._source.lose()
            # It names hosts and users of databases.
            log.warning("The page of campaigns cannot read the ledger: %s", error)
            told = (
                str(error) if who.may_see_numbers or not _names_places(error) else "Its reason is in the log."
            )
            if request.method == "POST" and ledger is not None:
                return self._fail(request, 503, "The ledger cannot be used", f"{told} {PERHAPS}")
            return self._fail(request, 503, "The ledger cannot be read", told)

    def refuse(self, request: Request, error: Exception) -> Response:
        """Answer what was refused; whoever has not logged in is sent there, as Airflow does."""
        assert isinstance(error, AnyHTTPException)  # noqa: S101 it is registered for these
        # The other is a token that this server no longer accepts.
        if error.status_code == 401 or (error.status_code, error.detail) == (403, "Invalid JWT token"):
            if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
                root = str(request.scope.get("root_path", ""))
                login = f"{root.removesuffix(PREFIX)}/api/v2/auth/login"
                # Of the query only what leads to a campaign: servers log what is asked of the login.
                path = request.url.path if request.url.path.startswith(root) else root + request.url.path
                name = request.query_params.get("id")
                target = path if name is None else f"{path}?{urlencode({'id': name})}"
                return RedirectResponse(f"{login}?{urlencode({'next': target})}", 302)
            return PlainTextResponse("You are not logged in. Nothing was changed.", 401)
        return self._fail(request, error.status_code, *_said(error))

    def static(self, name: str) -> Response:
        """Give a file that is the same for everybody."""
        if name not in self._static:
            raise HTTPException(404, "There is no such file.")
        headers = {"Cache-Control": "public, max-age=86400"}
        return Response(self._static[name], media_type=STATIC[name], headers=headers)

    def _render(self, request: Request, template: str, code: int = 200, **values: Any) -> Response:
        told = forms.in_words(request.cookies.get(TOLD, ""))
        root = str(request.scope.get("root_path", ""))
        common = {"root": root, "told": told, "reload": 0, "reload_soon": 0}
        html = self._templates.get_template(template).render({**common, **values})
        response = HTMLResponse(html, code)
        if TOLD in request.cookies:
            response.delete_cookie(TOLD, path=root or "/")
        return response

    def _fail(self, request: Request, status: int, title: str, text: str) -> Response:
        return self._render(request, "note.html", status, title=title, text=text, who=None)

    def _empty(self, request: Request, who: Visitor) -> Response:
        text = (
            "There is no ledger where the API server looks for it. It is made when the first task sends; if "
            "one has sent already, tasks and API server look in different places: see [telekom_sms] "
            "ledger_conn_id and ledger_path."
        )
        return self._render(request, "note.html", title="No campaign yet", text=text, who=who)

    # Looking.

    def campaigns(self, asked: Asked) -> Response:
        """Show campaigns, the newest first."""
        search, before = asked.given("q"), asked.before
        found = overview.campaigns(asked.ledger, search=search, before=before, limit=ROWS + 1)
        deadline = time.monotonic() + PATIENCE
        listed = []
        for campaign in found[:ROWS]:
            figures = self._source.figures(asked.ledger, campaign, deadline - time.monotonic())
            listed.append((campaign, figures, shown.status(campaign, figures)))
        counting = any(figures is None for _, figures, _ in listed)
        return self._render(
            asked.request, "campaigns.html", who=asked.who, listed=listed, search=search,
            is_first=before is None, older=found[ROWS - 1].number if len(found) > ROWS else None,
            reload=0 if before or search else RELOAD, reload_soon=RELOAD_SOON * counting,
        )  # fmt: skip

    def by_name(self, asked: Asked) -> Response:
        """Lead to a campaign whose id is known; for links from tasks."""
        try:
            number = reporting.campaign_number(asked.ledger, asked.request.query_params.get("id", ""))
        except LedgerUnavailableError:
            raise
        except LedgerError:
            raise HTTPException(
                404, "The ledger holds no such campaign: nothing is planned yet, or it was purged."
            ) from None
        return RedirectResponse(f"{asked.root}/c/{number}", 302)

    def campaign(self, asked: Asked) -> Response:
        """Show a campaign."""
        campaign, ledger = asked.campaign(), asked.ledger
        began = time.monotonic()
        figures = self._source.figures(ledger, campaign)
        details = None
        if figures:
            left = PATIENCE - (time.monotonic() - began)
            details = self._source.details(ledger, campaign, figures, left)
        goes_on = campaign.at_work or (figures and figures.on_the_way)
        plans = overview.plans(ledger, campaign.number, NAMED)
        return self._render(
            asked.request, "campaign.html", who=asked.who, campaign=campaign, figures=figures,
            details=details, how=shown.status(campaign, figures), plans=plans,
            samples=next((plan.summary["samples"] for plan in plans if plan.summary.get("samples")), []),
            tries=overview.tries(ledger, campaign.number, NAMED),
            reload=RELOAD * bool(goes_on), reload_soon=RELOAD_SOON * (details is None),
        )  # fmt: skip

    def rows(self, asked: Asked) -> Response:
        """Show messages of a campaign."""
        campaign = asked.campaign()
        which = asked.given("show")
        which = which if which in overview.SHOWN else "all"
        found = overview.rows(asked.ledger, campaign.number, which, after=asked.after, limit=ROWS + 1)
        self._note_whole(asked)
        return self._render(
            asked.request, "rows.html", who=asked.who, campaign=campaign, which=which, whole=asked.whole,
            **_page(found, asked.after),
        )  # fmt: skip

    def doubts(self, asked: Asked, error: str = "", code: int = 200) -> Response:
        """Show what is in doubt, with a form to settle it."""
        campaign = asked.campaign()
        # Before the rows: what comes in between is shown, and not settled with all.
        ids = overview.doubtful(asked.ledger, campaign.number)
        found = overview.doubts(asked.ledger, campaign.number, after=asked.after, limit=ROWS + 1)
        self._note_whole(asked)
        return self._render(
            asked.request, "doubts.html", code, who=asked.who, campaign=campaign, whole=asked.whole,
            error=error, form=asked.form, chosen=set(asked.form.rows), seal=self._sealed(asked),
            number=len(ids), expected=actions.mark_of(ids), **_page(found, asked.after),
        )  # fmt: skip

    def changing(self, asked: Asked, error: str = "", code: int = 200) -> Response:
        """Show the form to pause, resume and cancel a campaign."""
        campaign = asked.campaign()
        figures = self._source.figures(asked.ledger, campaign)
        return self._render(
            asked.request, "change.html", code, who=asked.who, campaign=campaign, figures=figures,
            error=error, form=asked.form, seal=self._sealed(asked), how=shown.status(campaign, figures),
        )  # fmt: skip

    def _sealed(self, asked: Asked) -> str:
        return self._seal.make(asked.who.id, _purpose(asked.number)) if asked.who.may_act else ""

    def _note_whole(self, asked: Asked) -> None:
        if asked.whole:
            log.info("%s looks at whole numbers of campaign %d", shown.clean(asked.who.name), asked.number)

    # Acting.

    def settle(self, asked: Asked) -> Response:
        """Settle what is in doubt."""
        return self._act(asked, forms.settle, self.doubts)

    def change(self, asked: Asked) -> Response:
        """Pause, resume or cancel a campaign."""
        return self._act(asked, forms.change, self.changing)

    def _act(self, asked: Asked, act: Callable[..., str], form: Callable[..., Response]) -> Response:
        """Do what a form says, or show it again with what is wrong."""
        campaign = asked.campaign()
        try:
            done = act(asked.ledger, campaign, asked.form, asked.who.name)
        except TelekomSmsError as error:
            _reraise_trouble(error)
            return form(asked, str(error), 409)
        return _done(asked, done)


def _purpose(number: int) -> str:
    return f"campaign {number}"


def _done(asked: Asked, done: str) -> Response:
    # A redirect that is followed with GET: to load it again sends nothing twice.
    response = RedirectResponse(f"{asked.root}/c/{asked.number}", 303)
    response.set_cookie(
        TOLD, done, path=asked.root or "/", max_age=60, httponly=True, samesite="strict",
        secure=asked.request.url.scheme == "https",
    )  # fmt: skip
    return response


def _page(found: list[Any], after: Place | None) -> dict[str, Any]:
    last = found[ROWS - 1] if len(found) > ROWS else None
    further = None if last is None else f"{last.plan_id}.{last.row}.{last.id}"
    return {"rows": found[:ROWS], "further": further, "is_first": after is None}


def _said(error: AnyHTTPException) -> tuple[str, str]:
    titles = {403: "Not allowed", 404: "Not found", 405: "Not possible"}
    return titles.get(error.status_code, "That did not work"), str(error.detail)


def _names_places(error: Exception) -> bool:
    return _is_trouble(error) or isinstance(error, ConfigurationError)


def _is_trouble(error: Exception) -> bool:
    """Tell trouble of the database from what a form asks and cannot be done."""
    return "<Ledger" in str(error)


def _reraise_trouble(error: TelekomSmsError) -> None:
    if _is_trouble(error):
        raise error


def _templates(version: str) -> Environment:
    environment = Environment(
        loader=PackageLoader("airflow_provider_telekom_sms.ui"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown.clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"version": version, "shown": shown}
    environment.filters |= {"n": "{:,}".format, "many": shown.many, "short": shown.short}
    return environment
