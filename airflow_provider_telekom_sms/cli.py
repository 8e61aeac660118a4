"""
The command ``python -m airflow_provider_telekom_sms``: looks into the ledger, settles what only a person can.

Airflow is imported only where its configuration says where the ledger is; ``--ledger-path`` needs none of it.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_telekom_sms.exceptions import ConfigurationError, LedgerError, TelekomSmsError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from airflow_provider_telekom_sms.ledger.store import Ledger

#: Rows that a question names.
SHOWN = 10
DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

_MEANINGS = {
    "sent": "counted as accepted, and never sent again",
    "resend": "sent again by the next try, perhaps twice",
    "drop": "counted as rejected, and never sent again",
}
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run a command.

    :param argv: the arguments, without the program's name
    :return: 0 done, 1 an error, which stands on stderr in one line, 2 wrong usage
    """
    try:
        options = _parser().parse_args(argv)
    except SystemExit as end:
        return int(end.code or 0)
    try:
        with _opened(options) as ledger:
            _COMMANDS[options.command](ledger, options)
        sys.stdout.flush()
        return DONE
    except _WrongUsageError as error:
        return _fail(f"wrong usage: {error}", WRONG_USAGE)
    except TelekomSmsError as error:
        return _fail(f"error: {error}", FAILED)
    except BrokenPipeError:
        # Whoever reads has seen enough (``| head``); at its end Python would complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        return _fail(f"error: {error.strerror or type(error).__name__}: {error.filename}", FAILED)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)


class _WrongUsageError(Exception):
    """What argparse cannot see."""


def _fail(line: str, code: int) -> int:
    print(_printable(line), file=sys.stderr)
    return code


# --- arguments ----------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_telekom_sms", description="The provider's command."
    )
    groups = parser.add_subparsers(required=True, metavar="GROUP")
    ledger = groups.add_parser("ledger", help="look into the ledger, and settle what only a person can")
    ledger.description = (
        "The ledger knows every message that was ever meant to leave. An id that begins with a dash goes "
        "behind --, as the last argument."
    )
    commands = ledger.add_subparsers(required=True, metavar="COMMAND", dest="command")

    def add(name: str, text: str, campaign: bool = True) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:], allow_abbrev=False
        )
        place = command.add_mutually_exclusive_group()
        place.add_argument(
            "--ledger-conn-id", metavar="ID", help="Airflow connection of the ledger's database"
        )
        place.add_argument("--ledger-path", metavar="FILE", help="the ledger's SQLite file")
        command.add_argument("-o", "--output", choices=("table", "json"), default="table")
        if campaign:
            command.add_argument("campaign", type=_text, metavar="CAMPAIGN", help="the campaign's id")
        return command

    _add_looking(add)
    _add_acting(add)
    return parser


def _add_looking(add: Any) -> None:
    campaigns = add("campaigns", "list the campaigns, newest last", campaign=False)
    campaigns.add_argument("--limit", type=_count, default=20, metavar="N", help="only the newest (20)")
    add("show", "show what is known of a campaign")
    doubts = add("in-doubt", "list messages that may have been sent or not")
    doubts.add_argument("--limit", type=_count, default=50, metavar="N", help="only the first (50)")
    doubts.add_argument("--numbers", action="store_true", help="show whole numbers")
    opted = add("opt-outs", "list numbers whose owner wants no more messages, newest first", campaign=False)
    opted.add_argument("--limit", type=_count, default=50, metavar="N", help="only the first (50)")
    opted.add_argument("--numbers", action="store_true", help="show whole numbers")
    report = add("report", "write an outcome for every row")
    report.add_argument("path", metavar="PATH", help=".csv or .parquet; it holds whole numbers")


def _add_acting(add: Any) -> None:
    settle = add("settle", "say what became of messages in doubt")
    settle.add_argument(
        "--as", dest="decision", required=True, choices=tuple(_MEANINGS),
        help="; ".join(f"{name}: {meaning}" for name, meaning in _MEANINGS.items()),
    )  # fmt: skip
    which = settle.add_mutually_exclusive_group(required=True)
    which.add_argument("--rows", type=_rows, metavar="ROWS", help="row numbers of the source: 3,7-9")
    which.add_argument("--all", action="store_true", help="all that is in doubt")
    settle.add_argument("--plan", type=_count, metavar="N", help="rows of this plan only")
    settle.add_argument("--message-id", metavar="ID", help="the API's id of a single row that was sent")
    _add_who(settle, asks=True)
    _add_who(add("pause", "send nothing more until it is resumed"))
    _add_who(add("resume", "let the next try go on with what was paused"))
    _add_who(add("cancel", "send nothing more, ever"), asks=True)
    for name, text in (
        ("opt-out", "note that somebody wants no more messages"),
        ("opt-in", "note that somebody wants messages again"),
    ):
        add(name, text, campaign=False).add_argument("number", metavar="NUMBER", help="in any usual spelling")
    purge = add("purge", "erase the personal data of old messages", campaign=False)
    purge.add_argument(
        "--older-than",
        type=_age,
        required=True,
        metavar="TIME",
        help="since their last change: 90d, 12w, 36h",
    )
    purge.add_argument(
        "--forget", action="store_true",
        help="also delete campaigns of which all is as old; what runs under their ids again is sent again",
    )  # fmt: skip
    _add_who(purge, asks=True, why="the time that was given")


def _add_who(parser: argparse.ArgumentParser, *, asks: bool = False, why: str = "") -> None:
    parser.add_argument(
        "--why", required=not why, metavar="REASON", help=f"default: {why}" if why else "kept in the ledger"
    )
    parser.add_argument("--by", type=_text, metavar="NAME", help="who does it; default: the login name")
    if asks:
        parser.add_argument("--yes", action="store_true", help="do not ask")


def _text(given: str) -> str:
    try:
        given.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("found bytes that are no UTF-8") from None
    return given


def _count(given: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,8}", given, re.ASCII):
        raise argparse.ArgumentTypeError(f"found {given!r}, allowed are whole numbers above 0")
    return int(given)


def _rows(given: str) -> list[int]:
    from airflow_provider_telekom_sms.ledger.actions import read_rows

    try:
        return read_rows(given)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _age(given: str) -> timedelta:
    match = re.fullmatch(r"([1-9]\d{0,5})([hdw])", given, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"found {given!r}, allowed are hours, days or weeks: 36h, 90d, 12w")
    return int(match[1]) * _UNITS[match[2]]


# --- the ledger ---------------------------------------------------------------------------------------------


@contextmanager
def _opened(options: argparse.Namespace) -> Iterator[Ledger]:
    from airflow_provider_telekom_sms.ledger.store import Ledger

    url = _url(options)
    if url.get_backend_name() == "sqlite":
        _require_ledger(Path(str(url.database)))
    with closing(Ledger(url)) as ledger:
        yield ledger


def _url(options: argparse.Namespace) -> URL:
    if options.ledger_path is not None:
        from sqlalchemy.engine import URL

        return URL.create("sqlite", database=str(Path(options.ledger_path).absolute()))
    # Airflow logs to stdout, where what we print may be read as JSON.
    with redirect_stdout(sys.stderr):
        from airflow_provider_telekom_sms.ledger.location import find_outside_a_task, ledger_url

        return ledger_url(options.ledger_conn_id, find=find_outside_a_task)


def _require_ledger(path: Path) -> None:
    """Refuse a file that holds no ledger: opening it would make one, in whatever it is."""
    if not path.is_file():
        raise LedgerError(f"There is no ledger {str(path)!r}")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=60)) as file:
            found = file.execute("SELECT 1 FROM sqlite_master WHERE name = 'telekom_sms_ledger'").fetchone()
    except sqlite3.Error as error:
        raise LedgerError(f"The ledger {str(path)!r} cannot be opened: {error}") from None
    if found is None:
        raise LedgerError(f"The file {str(path)!r} holds no ledger")


# --- looking ------------------------------------------------------------------------------------------------


def _campaigns(ledger: Ledger, options: argparse.Namespace) -> None:
    import sqlalchemy as sa

    from airflow_provider_telekom_sms.ledger import reporting, schema

    c = schema.campaign.c
    with ledger.reading() as connection:
        query = sa.select(c.id, c.name, c.state, c.created_at).order_by(c.id.desc()).limit(options.limit)
        found = connection.execute(query).all()[::-1]
    rows = []
    for campaign in found:
        counts = _by_state(reporting.counts(ledger, campaign.id).as_dict())
        times = {"created": _time(campaign.created_at), "state": campaign.state}
        rows.append({**times, **counts, "campaign": campaign.name})
    if options.output == "json":
        _print_json(rows)
    else:
        _print_table(rows)


def _by_state(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: number for name, number in counts.items() if "parts" not in name}


def _show(ledger: Ledger, options: argparse.Namespace) -> None:
    from airflow_provider_telekom_sms.ledger import actions, delivery, reporting

    number = reporting.campaign_number(ledger, options.campaign)
    seen: dict[str, Any] = {
        **_head(ledger, number),
        "messages": _by_state(reporting.counts(ledger, number).as_dict()),
        "delivery": delivery.progress(ledger, delivery.Scope(options.campaign)).by_code,
        "plans": _plans(ledger, number),
        "tries": _tries(ledger, number),
        "actions": [
            {"when": _time(a.at), "who": a.actor, "what": a.action, "row": a.row, "why": a.reason}
            for a in actions.history(ledger, options.campaign)
        ],
    }
    if options.output == "json":
        _print_json(seen)
        return
    seen["messages"] = _in_words(seen["messages"])
    seen["delivery"] = _in_words({code or "not known yet": n for code, n in seen["delivery"].items()})
    for name in ("campaign", "state", "created", "messages", "delivery"):
        print(f"{name:<10}{_printable(seen[name])}")
    for name, title in (("plans", "plans"), ("tries", "tries at work"), ("actions", "actions")):
        print(f"\n{title}" if seen[name] else f"\n{title}: none")
        _print_table(seen[name])


def _head(ledger: Ledger, number: int) -> dict[str, Any]:
    import sqlalchemy as sa

    from airflow_provider_telekom_sms.ledger import schema

    c = schema.campaign.c
    with ledger.reading() as connection:
        name, state, at = connection.execute(
            sa.select(c.name, c.state, c.created_at).where(c.id == number)
        ).one()
    return {"campaign": name, "state": state, "created": _time(at)}


def _plans(ledger: Ledger, number: int) -> list[dict[str, Any]]:
    import sqlalchemy as sa

    from airflow_provider_telekom_sms.ledger import schema

    p, m = schema.plan.c, schema.message.c
    rows = sa.select(sa.func.count()).where(m.plan_id == p.id).correlate(schema.plan).scalar_subquery()
    query = sa.select(p.id, rows, p.key_column, p.state, p.created_at, p.slot)
    with ledger.reading() as connection:
        return [
            {
                "plan": i,
                "rows": n,
                "key_column": key,
                "ready": s == "ready",
                "created": _time(at),
                "task": slot,
            }
            for i, n, key, s, at, slot in connection.execute(
                query.where(p.campaign_id == number).order_by(p.id)
            )
        ]


def _tries(ledger: Ledger, number: int) -> list[dict[str, Any]]:
    """Give the tries that have not ended; one whose lease ran out was most likely killed."""
    import sqlalchemy as sa

    from airflow_provider_telekom_sms.ledger import schema

    o = schema.owner.c
    query = sa.select(o.started_at, o.lease_until, o.slot)
    query = query.where(o.campaign_id == number, o.ended_at.is_(None)).order_by(o.id)
    with ledger.reading() as connection:
        now = ledger.now(connection)
        return [
            {"started": _time(started), "alive": until >= now, "lease_until": _time(until), "task": slot}
            for started, until, slot in connection.execute(query)
        ]


def _in_doubt(ledger: Ledger, options: argparse.Namespace) -> None:
    from airflow_provider_telekom_sms.api.phone import mask_phone, mask_phones_in
    from airflow_provider_telekom_sms.ledger import actions

    def shown(value: str | None, mask: Any) -> str | None:
        return value if options.numbers or value is None else mask(value)

    rows = [
        {
            "row": doubt.row,
            "plan": doubt.plan_id,
            "number": shown(doubt.phone, mask_phone),
            "since": _time(doubt.since),
            # The API's words may quote the number.
            "reason": shown(doubt.reason, mask_phones_in),
        }
        for doubt in actions.in_doubt(ledger, options.campaign, options.limit)
    ]
    if options.output == "json":
        _print_json(rows)
        return
    _print_table(rows)
    total = len(rows)
    if total >= options.limit:
        total = len(actions.in_doubt(ledger, options.campaign))
    print(f"{len(rows)} of {total} messages in doubt")


def _report(ledger: Ledger, options: argparse.Namespace) -> None:
    from airflow_provider_telekom_sms.campaign.report import check_path, write_report
    from airflow_provider_telekom_sms.ledger import reporting

    check_path(options.path)
    write_report(ledger, reporting.campaign_number(ledger, options.campaign), options.path)
    _say(options, f"The report is in {options.path}", campaign=options.campaign, report=options.path)


def _opt_outs(ledger: Ledger, options: argparse.Namespace) -> None:
    from airflow_provider_telekom_sms.api.phone import mask_phone
    from airflow_provider_telekom_sms.ledger import opt_outs

    total, found = opt_outs.newest(ledger, options.limit)
    rows = [
        {"number": f"+{phone}" if options.numbers else mask_phone(phone), "since": _time(at)}
        for phone, at in found
    ]
    if options.output == "json":
        _print_json(rows)
        return
    _print_table(rows)
    print(f"{len(rows)} of {total} numbers")


# --- acting -------------------------------------------------------------------------------------------------


def _settle(ledger: Ledger, options: argparse.Namespace) -> None:
    from airflow_provider_telekom_sms.ledger import actions, reporting

    if options.message_id is not None and (options.decision != "sent" or len(options.rows or ()) != 1):
        raise _WrongUsageError("--message-id goes with --as sent and a single row in --rows")
    if not options.yes:
        _ask_to_settle(options, actions.in_doubt(ledger, options.campaign))
    settled = actions.settle(
        ledger,
        options.campaign,
        options.decision,
        rows=options.rows,
        plan=options.plan,
        message_id=options.message_id,
        **_who(options),
    )
    left = reporting.counts(ledger, reporting.campaign_number(ledger, options.campaign)).in_doubt
    _say(
        options,
        f"{settled} messages are {_MEANINGS[options.decision]}; {left} are in doubt",
        campaign=options.campaign,
        decision=options.decision,
        settled=settled,
        in_doubt=left,
    )


def _ask_to_settle(options: argparse.Namespace, doubts: Iterable[Any]) -> None:
    from airflow_provider_telekom_sms.api.phone import mask_phone

    wanted = None if options.rows is None else set(options.rows)
    chosen = [
        doubt
        for doubt in doubts
        if (wanted is None or doubt.row in wanted) and options.plan in (None, doubt.plan_id)
    ]
    named = [f"  row {doubt.row}  {mask_phone(doubt.phone)}" for doubt in chosen[:SHOWN]]
    more = [f"  and {len(chosen) - SHOWN} more"] if len(chosen) > SHOWN else []
    head = f"{len(chosen)} messages in doubt of campaign {options.campaign!r} will be"
    _ask(options, "\n".join([f"{head} {_MEANINGS[options.decision]}:", *named, *more]))


def _change(ledger: Ledger, options: argparse.Namespace) -> None:
    from airflow_provider_telekom_sms.ledger import actions, reporting

    name = options.command
    if name == "cancel":
        counts = reporting.counts(ledger, reporting.campaign_number(ledger, options.campaign))
        _ask(
            options,
            f"Campaign {options.campaign!r} will be cancelled for good: {counts.planned} planned messages "
            "will never be sent",
        )
    act, new = {
        "pause": (actions.pause, "paused"),
        "resume": (actions.resume, "active"),
        "cancel": (actions.cancel, "cancelled"),
    }[name]
    old = act(ledger, options.campaign, **_who(options))
    told = f"is {new}, and was {old}" if old != new else f"was {old} already"
    _say(options, f"Campaign {options.campaign!r} {told}", campaign=options.campaign, was=old, state=new)


def _opt(ledger: Ledger, options: argparse.Namespace) -> None:
    from airflow_provider_telekom_sms.api.phone import mask_phone, parse_mobile
    from airflow_provider_telekom_sms.ledger import opt_outs

    phone = parse_mobile(options.number)
    out = options.command == "opt-out"
    changed = (opt_outs.opt_out if out else opt_outs.opt_in)(ledger, phone)
    told = "wants no more messages" if out else "wants messages"
    sentence = f"{mask_phone(phone)} {told}{'' if changed else '; so it was already'}"
    _say(options, sentence, number=mask_phone(phone), opted_out=out, changed=changed)


def _purge(ledger: Ledger, options: argparse.Namespace) -> None:
    from airflow_provider_telekom_sms.ledger.purging import purge

    what = f"Numbers, texts, keys and reasons of all that last changed more than {_age_of(options)} ago"
    forgets = (
        "; campaigns of which all is as old will be deleted, and what runs under their ids again will be "
        "sent again"
    )
    _ask(options, f"{what} will be erased{forgets if options.forget else ''}")
    who = _who(options)
    purged = purge(ledger, options.older_than, forget=options.forget, **who)
    left = f"{purged.left} left that are still to be sent"
    sentence = f"{purged.messages} messages erased, {left}; {purged.campaigns} campaigns deleted"
    _say(options, sentence, **asdict(purged))


def _age_of(options: argparse.Namespace) -> str:
    age: timedelta = options.older_than
    return f"{age.days} days" if not age.seconds else f"{age // _UNITS['h']} hours"


def _who(options: argparse.Namespace) -> dict[str, str]:
    """Give actor and reason."""
    actor = options.by
    if actor is None:
        try:
            actor = getpass.getuser()
        except (OSError, KeyError, ImportError):
            # In a container a user may have no name.
            raise _WrongUsageError("--by is needed: the login name cannot be found out") from None
    reason = options.why
    return {"actor": actor, "reason": f"older than {_age_of(options)}" if reason is None else reason}


def _ask(options: argparse.Namespace, what: str) -> None:
    """Say what will be done, and go on only with a yes."""
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise _WrongUsageError("--yes is needed where nobody can be asked. Nothing was done")
    for line in what.splitlines():
        print(_printable(line), file=sys.stderr)
    print("Type yes to do it: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != "yes":
        raise _DeclinedError("Nothing was done")


class _DeclinedError(TelekomSmsError):
    """Whoever was asked did not say yes."""


# --- output -------------------------------------------------------------------------------------------------


def _say(options: argparse.Namespace, sentence: str, **values: Any) -> None:
    if options.output == "json":
        _print_json(values)
    else:
        print(_printable(sentence))


def _print_json(value: Any) -> None:
    # On a terminal nothing of it may steer that.
    print(json.dumps(value, ensure_ascii=sys.stdout.isatty(), indent=2))


def _print_table(rows: list[dict[str, Any]]) -> None:
    """Print rows below each other; the last column, the longest, is not filled up."""
    if not rows:
        return
    lines = [
        [name.replace("_", " ") for name in rows[0]],
        *([_cell(v) for v in row.values()] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    columns = zip(*(row.values() for row in rows), strict=True)
    right = [any(type(value) is int for value in column) for column in columns]
    for line in lines:
        cells = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, right, strict=True)
        ]
        print("  ".join(cells).rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else _printable(str(value))


def _printable(text: str) -> str:
    """Show what would steer a terminal, or break a table, as what it is."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _in_words(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in numbers.items() if n) or "none"


def _time(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_COMMANDS = {
    "campaigns": _campaigns,
    "show": _show,
    "in-doubt": _in_doubt,
    "opt-outs": _opt_outs,
    "report": _report,
    "settle": _settle,
    "pause": _change,
    "resume": _change,
    "cancel": _change,
    "opt-out": _opt,
    "opt-in": _opt,
    "purge": _purge,
}
