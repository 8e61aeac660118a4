"""The chapter on RCS: its Python runs as it stands, and what it is said to print is what it prints."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
#: A block of Python, and of what it prints, warns of or raises, if that stands right behind it.
BLOCK = re.compile(r"^```python\n(.*?)^```$(?:\n\n^```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)


def _words(text: str) -> str:
    """Undo the breaks of lines, which are the page's own."""
    return " ".join(text.split())


def _run(code: str, names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a block, and give all that it said."""
    capsys.readouterr()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            exec(compile(code, "docs", "exec"), names)
            raised = ""
        except Exception as error:
            raised = f"{type(error).__name__}: {error}"
    said = [str(one.message) for one in warned if one.category is UserWarning]
    # Airflow 3.1 logs what it thinks of a connection's type there, too.
    printed = re.sub(r"^\d{4}-\d\d-\d\dT.*\n", "", capsys.readouterr().out, flags=re.MULTILINE)
    return "\n".join([printed, *said, raised])


@pytest.mark.parametrize(("page", "about"), [("docs/rcs.md", ""), ("README.md", "rcs.")])
def test_every_snippet_runs(
    page: str,
    about: str,
    sim: Any,
    run_dag: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from airflow.sdk import DAG

    text = (ROOT / page).read_text()
    blocks = BLOCK.findall(text)
    assert len(blocks) == text.count("```python\n")
    # Files are written where the reader is.
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    dag = DAG(f"snippets_of_{Path(page).stem}", schedule=None, start_date=datetime(2026, 1, 1))
    for code, expected in blocks:
        if about in code:
            # An operator that is refused is in the DAG by then.
            with contextlib.nullcontext() if "Error:" in expected else dag:
                assert _words(_run(code, names, capsys)) == _words(expected), code

    run = run_dag(dag)
    assert set(run.states.values()) == {"success"}
    for task in dag.tasks:
        assert _accepted(run.xcom(task.task_id)) > 0


def _accepted(result: Any) -> int:
    return len(result) if isinstance(result, list) else int(result["accepted"])
