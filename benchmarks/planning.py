"""Planning: from the rows of a file or a query to a campaign that can be sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import process, rows
from benchmarks.process import Job, Work, work
from benchmarks.provider import airflow, context
from benchmarks.suite import Suite


def prepare(job: Job) -> Work:
    """Warm up by planning a few rows of the same kind of source."""
    airflow(job, job["home"])
    from airflow_provider_telekom_sms.operators.telekom_sms import TelekomSmsCampaignPlanOperator

    def plan(campaign: str, **source: Any) -> Job:
        operator = TelekomSmsCampaignPlanOperator(
            task_id=campaign, campaign_id=campaign, text=rows.TEXT, **source
        )
        return {"planned": operator.execute(context(campaign))["messages"]}

    if "sql" in job:
        query = {"sql": job["sql"], "sql_conn_id": "warehouse"}
        plan("warm", **{**query, "sql": f"{job['sql']} LIMIT 20"})
        return lambda: plan("campaign", **query)
    plan("warm", source=job["warm_path"])
    return lambda: plan("campaign", source=job["path"])


def planning(suite: Suite) -> dict[str, list[Any]]:
    """Plan more and more rows, the most from each kind of source."""
    few, some, many = (1_000, 5_000, 20_000) if suite.quick else (10_000, 100_000, 1_000_000)
    found: dict[str, list[Any]] = {}

    def plan(source: str, number: int, **more: Any) -> None:
        job = suite.job("plan", rows=number, path=suite.csv(number)) | more
        measured = process.run("planning", job)
        suite.forget(job)
        if measured["planned"] != number:
            raise RuntimeError(f"{source}: {number} rows, told {measured}")
        found.setdefault(f"{source} {number}", []).append({"rows": number, **measured})

    for _ in range(suite.rounds):
        plan("CSV", few)
        plan("CSV", some)
    plan("CSV", many)
    suite.say("planning from CSV")
    parquet = {}
    for name, number in (("warm_path", 20), ("path", many)):
        source = Path(suite.csv(number))
        parquet[name] = str(rows.write_parquet(source.with_suffix(".parquet"), source))
    plan("Parquet", many, **parquet)
    suite.say("planning from Parquet")
    plan_from_postgresql(suite, many, plan)
    suite.say("planning from PostgreSQL")
    return found


def plan_from_postgresql(suite: Suite, number: int, plan: Any) -> None:
    """Plan the rows of a query."""
    import psycopg

    from tests.postgres import PASSWORD, USER, PostgresServer

    server = PostgresServer()
    try:
        url = server.database()
        with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
            connection.execute("CREATE TABLE invoice (phone text, name text, month text)")
            with connection.cursor().copy("COPY invoice FROM STDIN (FORMAT csv, HEADER)") as copy:
                copy.write(Path(suite.csv(number)).read_bytes())
        warehouse = {
            "conn_type": "postgres", "host": "127.0.0.1", "port": server.port, "login": USER,
            "password": PASSWORD, "schema": url.database,
        }  # fmt: skip
        env = {"AIRFLOW_CONN_WAREHOUSE": json.dumps(warehouse)}
        plan("PostgreSQL", number, sql="SELECT phone, name, month FROM invoice", env=env)
    finally:
        server.close()


if __name__ == "__main__":
    work(prepare)
