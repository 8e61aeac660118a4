"""How ``make docs`` makes these pages into HTML; it needs no network."""

from __future__ import annotations

import inspect
import os
import re
import tempfile
import tomllib
from pathlib import Path
from typing import Any, get_type_hints

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Homepage"]

# Airflow makes its home when it is first imported; that of whoever builds is left alone.
_HOME = tempfile.TemporaryDirectory(prefix="telekom-sms-docs-", ignore_cleanup_errors=True)
os.environ["AIRFLOW_HOME"] = _HOME.name

from airflow_provider_telekom_sms import __version__  # noqa: E402
from airflow_provider_telekom_sms.api import messages  # noqa: E402

project = "airflow-provider-telekom-sms"
version = release = __version__
project_copyright = "its authors, Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "index"
nitpicky = True

# The pages are read on GitHub, too: its anchors of headings, its pictures.
myst_heading_anchors = 4
myst_enable_extensions = ["html_image"]
suppress_warnings = ["myst.header"]
highlight_language = "text"

autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
# Without intersphinx, which would ask other servers, only what is documented here can be linked.
nitpick_ignore_regex = [(r"py:.*", r"(?!airflow_provider_telekom_sms\.[a-z_.]+\.[A-Z]).*")]

html_theme = "furo"
html_title = "Telekom SMS for Airflow"
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
    "light_css_variables": {"color-brand-primary": "#c2005f", "color-brand-content": "#c2005f"},
    "dark_css_variables": {"color-brand-primary": "#ff6bb0", "color-brand-content": "#ff6bb0"},
}
html_static_path = ["_static"]
html_css_files = ["wide.css"]


def _with_menu(text: str) -> str:
    """Make a menu of each list of pages below a heading, so that these are listed once."""

    def menu(section: re.Match[str]) -> str:
        pages = re.findall(r"^- \[[^]]*\]\(([\w/-]+)\.md\)", section[0], re.MULTILINE)
        toctree = "\n".join(["```{toctree}", ":hidden:", f":caption: {section[1]}", "", *pages, "```"])
        return f"{section[0].rstrip()}\n\n{toctree}\n\n" if pages else section[0]

    return re.sub(r"^## (.*)\n(?:(?!## ).*\n?)*", menu, text, flags=re.MULTILINE)


def _read(app: Any, docname: str, content: list[str]) -> None:
    if docname == "index":
        content[0] = _with_menu(content[0])
    # What is not part of these pages is read in the repository.
    up = "../" * docname.count("/")
    content[0] = re.sub(rf"\]\({up}\.\./(?=[\w.])", f"]({REPOSITORY}/blob/main/", content[0])


def _operators_return(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Say of a class with a result that a task returns it; making the class does not."""
    if what == "class":
        lines[:] = [line.replace(":return:", ":Returned by the task:") for line in lines]


def _simplify(model: Any) -> None:
    """Show a model's parameters as they are called in Python, without what Pydantic checks them with."""
    types, kind = get_type_hints(model), inspect.Parameter.KEYWORD_ONLY
    model.__signature__ = inspect.Signature(
        [
            inspect.Parameter(
                name, kind, default=inspect.Parameter.empty if field.is_required() else field.default
            )
            for name, field in model.model_fields.items()
        ]
    )
    model.__annotations__ = types


def setup(app: Any) -> None:
    """Have pages and docstrings prepared before they are parsed."""
    for name in messages.__all__:
        model = getattr(messages, name)
        if hasattr(model, "model_fields"):
            _simplify(model)
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", _operators_return)
