"""The package, through its operators, with the ledger on and as durable as it always is."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import Any

from benchmarks.process import Job, Work, work
from benchmarks.rows import SAME_TEXT, TEXT
from benchmarks.server import KEY


def airflow(job: Job, home: str) -> None:
    """Give an Airflow of its own: the connection to the server, and where the ledger lives."""
    extra = {"verify": job["ca"]} if job["url"].startswith("https") else {}
    if job["wire"] == "xml":
        extra["wire_format"] = "xml"
    connection = {"conn_type": "telekom_sms", "host": job["url"], "password": KEY, "extra": extra}
    os.environ["AIRFLOW_HOME"] = home
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
    os.environ["AIRFLOW_CONN_TELEKOM_SMS_DEFAULT"] = json.dumps(connection)
    if isinstance(job["ledger"], str):
        os.environ["AIRFLOW__TELEKOM_SMS__LEDGER_PATH"] = job["ledger"]
    else:
        os.environ["AIRFLOW_CONN_LEDGER"] = json.dumps(job["ledger"])
        os.environ["AIRFLOW__TELEKOM_SMS__LEDGER_CONN_ID"] = "ledger"


def context(task_id: str) -> Any:
    """Give a task's context, as far as operators read it."""
    ti = SimpleNamespace(dag_id="benchmark", task_id=task_id, run_id="run", try_number=1, map_index=-1)
    return {"ti": ti, "task_instance": ti, "run_id": "run"}


def bulk(job: Job) -> Work:
    """Plan a file, send it, record what came of it, and give the counts."""
    from airflow_provider_telekom_sms.operators.telekom_sms import TelekomSmsBulkSendOperator

    over_v2 = job["wire"] == "v2"

    def send(task_id: str, path: str) -> Job:
        operator = TelekomSmsBulkSendOperator(
            task_id=task_id,
            source=path,
            text=SAME_TEXT if over_v2 else TEXT,
            api="v2" if over_v2 else "v1",
            concurrency=job["connections"],
            batch_size=job.get("batch_size", 100),
        )
        return {"sent": operator.execute(context(task_id))["accepted"]}

    send("warm", job["warm_path"])
    return lambda: send("send", job["path"])


def hollow(job: Job) -> Work:
    """Do all of it but HTTP: a reply is there as soon as a request is."""
    from airflow_provider_telekom_sms import transport
    from airflow_provider_telekom_sms.api.http import Request, Response
    from benchmarks import server

    async def reply(self: Any, request: Request) -> Response:
        body = server.ENDPOINTS[request.path.encode()](request.body or b"")
        return Response(200, {"content-type": "application/json"}, body)

    transport.AsyncTransport._send = reply  # type: ignore[method-assign]
    return bulk(job)


def drained(job: Job) -> Work:
    """Be one of the workers that send a planned campaign."""
    from airflow_provider_telekom_sms.operators.telekom_sms import TelekomSmsCampaignSendOperator

    def send(campaign: str) -> Job:
        task_id = f"{campaign}_{job['worker']}"
        operator = TelekomSmsCampaignSendOperator(
            task_id=task_id, campaign_id=campaign, worker=job["worker"], concurrency=job["connections"]
        )
        return {"accepted": operator.execute(context(task_id))["accepted"]}

    send("warm")
    return lambda: send("campaign")


KINDS = {"provider": bulk, "hollow": hollow, "worker": drained}


def prepare(job: Job) -> Work:
    """Set Airflow up and warm up."""
    airflow(job, job["home"])
    return KINDS[job["variant"]](job)


if __name__ == "__main__":
    work(prepare)
