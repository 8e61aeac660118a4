"""What is published: its files, its metadata, what it brings with it, and what it leaves alone."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import airflow_provider_telekom_sms
from tests.versions import constraints, lines

ROOT = Path(__file__).parent.parent
if not (ROOT / ".git").exists():
    pytest.skip("only the repository says which files belong to it", allow_module_level=True)
NAME = "airflow_provider_telekom_sms"
VERSION = airflow_provider_telekom_sms.__version__
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = PROJECT["urls"]["Source"]

UV = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))

#: What lies about in a working tree and is nobody else's business.
JUNK = [
    ".env", ".venv/pyvenv.cfg", "airflow.db", "notes.txt", "build/matrix/3.3-3.11.txt", "demo-report.csv",
    "dist/old-0.0.1.tar.gz", ".hypothesis/unicode_data/data", ".pytest_cache/README.md", ".mypy_cache/a.json",
    f"{NAME}/__pycache__/settings.cpython-311.pyc", "tests/__pycache__/conftest.cpython-311.pyc",
    "dags_examples/__pycache__/one_message.cpython-311.pyc",
]  # fmt: skip

#: Licences that ask nothing of who uses this package under its own.
FREE = {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "PSF-2.0", "Zlib"}
#: Only beside ``[postgres]``, which nobody has to install.
OPTIONAL = {"psycopg": "LGPL-3.0-only", "psycopg-binary": "LGPL-3.0-only"}
#: How those name their licence who do not yet use its SPDX name.
SPELLINGS = {
    "Apache 2.0": "Apache-2.0", "BSD License": "BSD-3-Clause", "PSFL": "PSF-2.0", "BSD": "BSD-3-Clause",
    "Dual License": "Apache-2.0", "Apache Software License": "Apache-2.0",
}  # fmt: skip


def versioned() -> list[Path]:
    """Give what is in the repository, or is about to be: files, and links."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in said.split("\0") if name and (ROOT / name).exists()]


def files(*top: str, without: tuple[str, ...] = ()) -> set[str]:
    """Give the files of the repository under some of its folders, or all; what is linked counts as there."""
    found = [
        path for path in versioned() if (path.parts[0] in top or not top) and path.parts[0] not in without
    ]
    inside = [
        file
        for path in found
        for file in ((ROOT / path).rglob("*") if (ROOT / path).is_dir() else [ROOT / path])
    ]
    return {str(file.relative_to(ROOT)) for file in inside if file.is_file() and file.suffix != ".pyc"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it, of a tree in which things lie about."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for file in versioned():
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, tree / file, follow_symlinks=False)
    for name in JUNK:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("junk")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(tree)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return out


@pytest.fixture
def wheel(built: Path) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(built / f"{NAME}-{VERSION}-py3-none-any.whl") as archive:
        yield archive


@pytest.fixture
def metadata(wheel: zipfile.ZipFile) -> Message:
    return message_from_bytes(wheel.read(f"{NAME}-{VERSION}.dist-info/METADATA"))


def test_the_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    info = f"{NAME}-{VERSION}.dist-info"
    about = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    assert set(wheel.namelist()) == files(NAME) | {f"{info}/{file}" for file in about}


@pytest.mark.parametrize(
    "file", ["py.typed", "ui/templates/base.html", "ui/static/page.css", "get_provider_info.py",
             "example_dags/csv_campaign.py", "example_dags/data/zakaznici.csv"],
)  # fmt: skip
def test_the_wheel_holds_what_is_easily_forgotten(wheel: zipfile.ZipFile, file: str) -> None:
    assert f"{NAME}/{file}" in wheel.namelist()


def test_airflow_finds_the_provider_and_the_plugin(wheel: zipfile.ZipFile) -> None:
    parser = configparser.ConfigParser()
    parser.read_string(wheel.read(f"{NAME}-{VERSION}.dist-info/entry_points.txt").decode())
    assert {group: dict(parser[group]) for group in parser.sections()} == {
        "airflow.plugins": {"telekom_sms": f"{NAME}.callbacks.plugin:TelekomSmsPlugin"},
        "apache_airflow_provider": {"provider_info": f"{NAME}.get_provider_info:get_provider_info"},
    }


def test_the_sdist_holds_what_the_tests_and_docs_need_and_no_junk(built: Path) -> None:
    with tarfile.open(built / f"{NAME}-{VERSION}.tar.gz") as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    assert found == files(without=(".ci", ".github", ".pre-commit-config.yaml")) | {"PKG-INFO"}


def test_the_index_takes_it(built: Path) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, built.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


def test_links_of_the_readme_lead_to_the_repository_from_the_index_too(metadata: Message) -> None:
    text = metadata.get_payload()
    assert isinstance(text, str)
    targets = re.findall(r'\]\(([^)]+)\)|<img src="([^"]+)"', text)
    assert len(targets) > 15
    at_tag = f"{REPOSITORY}/blob/v{VERSION}/"
    raw = f"{REPOSITORY.replace('github.com', 'raw.githubusercontent.com')}/v{VERSION}/"
    for link, picture in targets:
        assert (link or picture).startswith("https://")
        file = link.removeprefix(at_tag) if link else picture.removeprefix(raw)
        if not file.startswith("https://"):
            assert (ROOT / file.partition("#")[0]).exists(), file
    assert any(picture.startswith(raw) for _, picture in targets)
    assert sum(link.startswith(at_tag) for link, _ in targets) > 10


def test_the_version_is_said_once(metadata: Message) -> None:
    assert metadata["Version"] == VERSION
    assert "version" not in PROJECT
    assert re.search(rf"^## \[?{re.escape(VERSION)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_every_supported_python_is_a_classifier_and_allowed(metadata: Message) -> None:
    said = re.findall(r"Python :: (3\.\d+)", "\n".join(metadata.get_all("Classifier", [])))
    assert said == ["3.11", "3.12", "3.13"]
    assert metadata["Requires-Python"] == "<3.14,>=3.11"


def needed(name: str, extras: set[str]) -> Iterator[tuple[str, set[str]]]:
    """Yield the requirements of an installed distribution here, each with its extras."""
    for line in distribution(name).requires or []:
        requirement = Requirement(line)
        if requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in extras or {""}
        ):
            yield canonicalize_name(requirement.name), requirement.extras


def closure(roots: list[tuple[str, set[str]]]) -> set[str]:
    """Give the names of all that is installed with these."""
    seen: set[tuple[str, frozenset[str]]] = set()
    queue = list(roots)
    while queue:
        name, extras = queue.pop()
        if (name, frozenset(extras)) in seen:
            continue
        try:
            queue += needed(name, extras)
        except PackageNotFoundError:
            continue
        seen.add((name, frozenset(extras)))
    return {name for name, _ in seen}


def licences(name: str) -> set[str]:
    """Give the SPDX names of a distribution's licences."""
    about: Any = distribution(name).metadata
    said = about.get("License-Expression") or about.get("License") or ""
    if not said or len(said) > 60:
        said = next(
            (one.split(" :: ")[-1] for one in about.get_all("Classifier", []) if "License ::" in one), ""
        )
    return {SPELLINGS.get(one, one) for one in re.split(r" AND | OR ", said)}


def test_what_it_brings_to_airflow_is_free_to_use() -> None:
    optional = {"holidays", "parquet", "postgres", "simulator"}
    brought = closure([(canonicalize_name(NAME), optional)]) - closure([("apache-airflow", set())])
    assert {"aiohttp", "pandas", "phonenumbers", "psycopg"} <= brought
    bound = {name: found for name in brought if not (found := licences(name)) <= FREE or not found}
    assert bound == {name: {licence} for name, licence in OPTIONAL.items()}


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


IMPORT_ALL = f"""
import importlib, json, pkgutil, {NAME} as package
names = [module.name for module in pkgutil.walk_packages(package.__path__, "{NAME}.")]
missing = {{}}
for name in names:
    if "example_dags" not in name and not name.endswith("__main__"):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing[name.partition(".")[2]] = error.name
print("\\n" + json.dumps([package.__file__, len(names), missing]))
"""
#: Modules that only something else imports, which has what they need.
EXTRA = {
    "lineage": "airflow.providers.openlineage",
    "queues.telekom_sms": "airflow.providers.common.messaging",
    "triggers.producer": "airflow.triggers.shared_stream",
}


@pytest.mark.slow
@pytest.mark.parametrize("line", lines())
def test_an_airflow_that_is_there_keeps_every_version(built: Path, tmp_path: Path, line: str) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    run(UV, "venv", "--quiet", "--seed", "--python", sys.executable, tmp_path / "venv")
    airflow = next(
        one for one in constraints(line).read_text().splitlines() if one.startswith("apache-airflow==")
    )
    run(UV, "pip", "install", "--quiet", "--python", python, "--constraints", constraints(line), airflow)
    before = set(run(UV, "pip", "freeze", "--quiet", "--python", python).splitlines())
    run(python, "-m", "pip", "install", "--quiet", "--no-compile", *built.glob("*.whl"))
    after = set(run(UV, "pip", "freeze", "--quiet", "--python", python).splitlines())
    assert before - after == set()
    assert len(after - before) < 20
    run(python, "-m", "pip", "check")
    assert_works(python, tmp_path)


@pytest.mark.slow
def test_it_installs_without_constraints_beside_the_newest_of_everything(built: Path, tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    run(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
    run(UV, "pip", "install", "--quiet", "--python", python, *built.glob("*.whl"))
    assert_works(python, tmp_path)


def assert_works(python: Path, home: Path) -> None:
    environment = {"AIRFLOW_HOME": str(home), "PYTHONPATH": "", "PYTHONSAFEPATH": "1"}
    file, number, missing = json.loads(run(python, "-c", IMPORT_ALL, **environment).splitlines()[-1])
    assert Path(file).is_relative_to(home)
    assert number > 50
    assert missing.items() <= EXTRA.items()
    said = run(python, "-m", "airflow", "providers", "list", "--output", "json", **environment)
    [ours] = [
        one
        for one in json.loads(said[said.index("[{") :])
        if one["package_name"] == "airflow-provider-telekom-sms"
    ]
    assert ours["version"].endswith(VERSION)


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.name
)
def test_workflows_run_what_was_looked_at(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    actions = re.findall(r"uses: (\S+)(.*)", path.read_text())
    assert actions
    for action, comment in actions:
        # A tag can be moved to other code, a commit cannot.
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action


def test_only_the_job_that_publishes_may_and_it_has_no_token() -> None:
    text = (ROOT / ".github" / "workflows" / "publish.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"]
    assert {name: job.get("permissions") for name, job in jobs.items()} == {
        "build": None,
        "publish": {"id-token": "write"},
    }
    assert jobs["publish"]["environment"] == "pypi"
    assert "secrets." not in text


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda path: path.name
)
def test_who_reports_is_told_what_not_to_paste_and_asked_for_versions(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= form.keys()
    assert "Paste no API key" in form["body"][0]["attributes"]["value"]
    (versions,) = (field for field in form["body"] if field.get("id") == "versions")
    assert versions["validations"]["required"]


def test_the_matrix_in_ci_is_the_supported_one() -> None:
    matrix = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["matrix"]
    assert matrix["strategy"]["matrix"] == {"airflow": lines(), "python": ["3.11", "3.12", "3.13"]}
