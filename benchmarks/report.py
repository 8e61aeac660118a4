"""Writes what was measured into docs/performance.md, between its marks, and draws the picture."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.process import ROOT
from benchmarks.targets import Results, cell, cpu, in_digits, peak, rate, targets

RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "pictures" / "performance.svg"
NAMES = {
    "naive": "`requests.post` a row",
    "threads": "one `Session`, threads",
    "gather": "aiohttp, `gather`",
    "workers": "aiohttp, workers",
    "provider": "**this provider**",
    "limit": "limit",
}


def write(results: Results, page: Path = PAGE, picture: Path = PICTURE) -> None:
    """Bring page and picture up to date; the same results make the same bytes."""
    text = page.read_text(encoding="utf-8")
    page.write_text(filled(text, results), encoding="utf-8")
    picture.write_text(draw(results), encoding="utf-8")


def filled(text: str, results: Results) -> str:
    """Give the page with its blocks made anew; blocks of what was not measured stay."""

    def block(found: re.Match[str]) -> str:
        name = found[1]
        if name != "machine" and BLOCKS[name][0] not in results:
            return found[0]
        return f"<!-- {name} -->\n{BLOCKS[name][1](results)}\n<!-- /{name} -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- /\1 -->", block, text, flags=re.DOTALL)


def table(head: list[str], body: list[list[str]]) -> str:
    """Give a table in Markdown; all but its first column is aligned to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine(results: Results) -> str:
    """Tell where and when it was measured."""
    m = results["machine"]
    said = f"{m['date']}, {m['cpu']}, {m['cores']} cores, {m['system']}, Python {m['python']}; " + ", ".join(
        f"{name} {version}" for name, version in m["versions"].items()
    )
    if results["quick"]:
        said = (
            f"**A quick run (`make bench-quick`), in which short times and a busy machine blur much.** {said}"
        )
    return f"{said}."


def _cell_name(c: dict[str, Any]) -> str:
    return f"{c['wire'].upper()}, {c['scheme'].upper()}, {c['latency_ms']} ms, {c['connections']}"


def _by_variant(results: Results, show: Callable[[list[Any], dict[str, Any]], str]) -> str:
    naive = {
        (c["wire"], c["scheme"], c["latency_ms"]): c["runs"]["naive"]
        for c in results["sending"]
        if "naive" in c["runs"]
    }
    body = []
    for c in results["sending"]:
        # It knows no connections: it is measured once.
        runs = {"naive": naive.get((c["wire"], c["scheme"], c["latency_ms"])), **c["runs"]}
        body.append([_cell_name(c), *(show(runs[name], runs) if runs.get(name) else "" for name in NAMES)])
    return table(["format, scheme, latency, connections", *NAMES.values()], body)


def speeds(results: Results) -> str:
    """Messages per second of everybody, cell by cell."""
    return _by_variant(results, lambda runs, _: in_digits(rate(runs)))


def costs(results: Results) -> str:
    """CPU time of a message, cell by cell."""
    return _by_variant(results, lambda runs, _: in_digits(cpu(runs)))


def shares(results: Results) -> str:
    """How near to the limit sending comes, without what comes before and after."""
    return _by_variant(results, lambda runs, cell: f"{rate(runs, 'span') / rate(cell['limit'], 'span'):.2f}")


def memory(results: Results) -> str:
    """Memory that sending took, at 50 ms over 64 connections."""
    runs = cell(results, "json", "https", 50, 64)
    body = [
        [
            NAMES[name],
            in_digits(runs[name][0]["rows"]),
            in_digits(median(r["peak_mb"] - r["before_mb"] for r in runs[name])),
        ]
        for name in NAMES
        if name in runs
    ]
    return table(["HTTPS, 50 ms, 64 connections", "messages", "MB"], body)


def batches(results: Results) -> str:
    """API v2 beside v1."""
    names = {"v1": "v1", "v2": "v2, 100 recipients a request", "v2 limit": "limit of v2"}
    body = [
        [said, in_digits(rate(runs)), in_digits(rate(runs, "span")), in_digits(cpu(runs))]
        for name, said in names.items()
        for runs in [results["batches"][name]]
    ]
    return table(
        ["HTTP, no latency, 16 connections", "messages/s", "sending alone", "µs CPU a message"], body
    )


def planning(results: Results) -> str:
    """From rows to a plan."""
    body = [
        [
            name.split()[0],
            in_digits(runs[0]["rows"]),
            in_digits(rate(runs)),
            in_digits(1e6 / rate(runs)),
            in_digits(peak(runs) - median(run["before_mb"] for run in runs)),
            in_digits(peak(runs)),
        ]
        for name, runs in results["planning"].items()
    ]
    head = ["source", "rows", "rows/s", "µs a row", "MB more at its peak", "MB in all"]
    return table(head, body)


def polling(results: Results) -> str:
    """Waiting for delivery."""
    body = [
        [
            name,
            in_digits(runs[0]["rows"]),
            in_digits(rate(runs, "waited")),
            in_digits(median(run["blocked_ms"] for run in runs)),
            in_digits(median(run["peak_mb"] - run["before_mb"] for run in runs)),
        ]
        for name, runs in results["polling"].items()
    ]
    return table(["", "messages", "checks/s", "longest block, ms", "MB more at its peak"], body)


def parsing(results: Results) -> str:
    """Importing."""
    found = {name: median(seconds) for name, seconds in results["parsing"].items()}
    return table(
        ["", "s"],
        [
            ["`from airflow.sdk import DAG, BaseOperator`", in_digits(found["bare"])],
            ["and `TelekomSmsBulkSendOperator`", in_digits(found["ours"])],
            ["ratio", in_digits(found["ours"] / found["bare"])],
        ],
    )


def workers(results: Results) -> str:
    """Several workers."""
    body = [
        [count, in_digits(rate(runs)), in_digits(rate(runs, "span")), in_digits(cpu(runs))]
        for count, runs in results["workers"].items()
    ]
    return table(["workers", "messages/s", "sending alone", "µs CPU a message"], body)


def judged(results: Results) -> str:
    """What was to be reached."""
    body = [
        [str(t.number), t.what, t.figure, "reached" if t.reached else "**not reached**", t.margin]
        for t in targets(results)
    ]
    lines = table(["", "what", "found (target)", "", "by"], body).splitlines()
    return "\n".join([lines[0], "|---|---|---|---|---|", *lines[2:]])


#: What a block of the page is made of: the section that measures it, and what makes it.
BLOCKS: dict[str, tuple[str, Callable[[Results], str]]] = {
    "machine": ("machine", machine),
    "speeds": ("sending", speeds),
    "costs": ("sending", costs),
    "shares": ("sending", shares),
    "memory": ("sending", memory),
    "batches": ("batches", batches),
    "planning": ("planning", planning),
    "polling": ("polling", polling),
    "parsing": ("parsing", parsing),
    "workers": ("workers", workers),
    "targets": ("sending", judged),
}

#: Width of the picture, of its longest bar, where bars begin, and height of a line.
_WIDTH, _LONGEST, _LEFT, _LINE = 760, 430, 210, 26
_STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600 }
  .bar { fill: #8c959f } .ours { fill: #e20074 }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .bar { fill: #6e7681 } }
"""


def draw(results: Results) -> str:
    """Draw the two cells that tell most: what CPU allows, and what latency does."""
    naive = {"naive": cell(results, "json", "https", 50, 16)["naive"]}
    panels = {
        "no latency, 16 connections": cell(results, "json", "https", 0, 16),
        "50 ms latency, 64 connections": {**naive, **cell(results, "json", "https", 50, 64)},
    }
    shapes, y = [], 0
    for title, runs in panels.items():
        y += _LINE + 4
        shapes.append(f'<text class="title" x="10" y="{y}">Messages/s over HTTPS, {title}</text>')
        speed = {name: rate(runs[name]) for name in NAMES if name in runs and name != "limit"}
        for name, value in speed.items():
            y += _LINE
            long = max(1, round(value / max(speed.values()) * _LONGEST))
            said = NAMES[name].replace("`", "").replace("*", "")
            kind = "bar ours" if name == "provider" else "bar"
            shapes += [
                f'<text x="{_LEFT - 10}" y="{y}" text-anchor="end">{said}</text>',
                f'<rect class="{kind}" x="{_LEFT}" y="{y - 14}" width="{long}" height="18" rx="2"/>',
                f'<text x="{_LEFT + long + 8}" y="{y}">{in_digits(value)}</text>',
            ]
        y += 10
    body = "\n".join(shapes)
    size = f'width="{_WIDTH}" height="{y + 10}" viewBox="0 0 {_WIDTH} {y + 10}"'
    label = "Messages per second of this provider beside clients written by hand"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}">\n'
        f"<style>{_STYLE}</style>\n{body}\n</svg>\n"
    )


def load(path: Path) -> Results:
    """Read what was measured."""
    return dict(json.loads(path.read_text(encoding="utf-8")))
