"""The simulator as a process, its own pages, and what a test can ask in-process."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import pytest
import requests

from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN as TOKEN
from airflow_provider_telekom_sms.simulator import Settings, serve


def start(*options):
    command = [sys.executable, "-m", "airflow_provider_telekom_sms.simulator", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    url = process.stdout.readline().split()[-1]
    assert url.startswith("http://127.0.0.1:")
    return process, url


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_the_command(ending):
    process, url = start("--token", "a" * 64, "--token", "b" * 64, "--allow-get", "--speed", "1000")
    try:
        with requests.Session() as client:  # an idle connection must not keep it alive
            parameters = {"to": "421903000000", "text": "x", "token": "b" * 64}
            sent = client.get(f"{url}/json/send_message", params=parameters, timeout=30).json()
            assert sent["result"]["code"] == "OK"
            assert client.get(f"{url}/_simulator/summary", timeout=30).json()["messages"] == 1
            process.send_signal(ending)
            out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (0, "", "")


def test_the_command_denies_and_takes_its_time():
    process, url = start("--deny-ip", "--latency-ms", "200", "--session-seconds", "5")
    try:
        began = time.monotonic()
        reply = requests.post(f"{url}/json/auth", json={"token": TOKEN}, timeout=30).json()
        assert reply["result"]["code"] == "IP_NOT_ALLOWED"
        assert time.monotonic() - began >= 0.2
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "airflow_provider_telekom_sms.simulator", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"The simulator cannot listen on 127.0.0.1:{port}: Address already in use")
    assert done.stderr.count("\n") == 1


def test_the_pages(api):
    def page(name, body=None, method=None):
        reply = api.raw(method or ("GET" if body is None else "POST"), f"/_simulator/{name}", json=body)
        return reply.status_code, reply.json()

    status, orders = page("faults", [{"name": "503", "times": 1}, {"name": "429", "numbers": ["0903000005"]}])
    assert status == 200
    assert [(o["name"], o["hits"]) for o in orders] == [("503", 0), ("429", 0)]
    assert api.raw("POST", "/json/send_message", json={}).status_code == 503
    message_id, other = api.send_id(text="prvá"), api.send_id("0903000006", "druhá")

    status, messages = page("messages")
    assert [m["text"] for m in messages] == ["prvá", "druhá"]
    assert page("messages?number=421903000006")[1][0]["id"] == other

    assert page("status", {"message_id": message_id, "code": "READ"})[0] == 200
    assert page("status", {"message_id": str(other), "fate": "denied"})[0] == 200
    assert page("settings", {"speed": 1000})[1]["speed"] == 1000
    time.sleep(0.01)
    assert [m["code"] for m in page("messages")[1]] == ["READ", "DENIED"]

    assert [r["fault"] for r in page("requests")[1]] == ["503", None, None]
    assert len(page("violations")[1]) == 3
    status, summary = page("summary")
    assert (summary["requests"], summary["messages"], summary["violations"]) == (3, 2, 3)
    assert summary["faults"][0]["hits"] == 1

    assert page("faults", method="DELETE")[0] == 200
    assert page("faults")[1] == []
    assert page("reset", {})[0] == 200
    assert page("messages")[1] == []
    assert page("summary")[1]["requests"] == 0


@pytest.mark.parametrize(
    ("page", "body"),
    [
        ("faults", {"name": "flood"}),
        ("faults", {"name": "503", "kth": 3}),
        ("faults", {"times": 3}),
        ("faults", ["503"]),
        ("status", {"message_id": 1, "code": "READ"}),
        ("status", {}),
        ("settings", {"tokens": []}),
        ("settings", {"fate": "lost"}),
    ],
)
def test_the_pages_refuse_nonsense(api, page, body):
    reply = api.raw("POST", f"/_simulator/{page}", json=body)
    assert reply.status_code == 400
    assert reply.json()["error"]
    assert api.state.faults == []


def test_half_a_request_is_no_message(api, until):
    body = b'{"to": "421903000000", "text": "Ahoj", "token": "%s"}' % TOKEN.encode()
    head = b"POST /json/send_message HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: %d\r\n\r\n" % len(body)
    address = urlsplit(api.url)
    for sent, taken in ((body[:-1], 0), (body, 1)):
        with socket.create_connection((address.hostname, address.port)) as client:
            client.sendall(head + sent)
        # The client is dead before any reply.
        time.sleep(0.1)
        until(lambda taken=taken: len(api.state.requests) == taken)
        assert len(api.state.messages) == taken
    assert api.state.violations == []


def test_connections_are_kept(api):
    address = urlsplit(api.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    connection.connect()
    port = connection.sock.getsockname()[1]
    for _ in range(3):
        connection.request(
            "POST", "/json/auth", f'{{"token": "{TOKEN}"}}', {"content-type": "application/json"}
        )
        connection.getresponse().read()
        assert connection.sock.getsockname()[1] == port
    connection.close()


def test_many_threads(api):
    def work(thread):
        for i in range(25):
            api.send(f"4219030{thread:02d}{i:02d}0")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(api.state.messages) == len({m.id for m in api.state.messages}) == 200
    assert set(api.state.messages_per_number().values()) == {1}
    assert api.state.violations == []


def test_two_simulators_at_once_and_a_quick_end():
    with serve(Settings(tokens=["a" * 64])) as one, serve() as two:
        for simulator, expected in ((one, "API_TOKEN_NOT_FOUND"), (two, "OK")):
            reply = requests.post(f"{simulator.url}/json/auth", json={"token": TOKEN}, timeout=30).json()
            assert reply["result"]["code"] == expected
        assert (one.state.logins, two.state.logins) == (0, 1)
        began = time.monotonic()
    assert time.monotonic() - began < 8
    with pytest.raises(requests.ConnectionError):
        requests.post(f"{one.url}/json/auth", json={"token": TOKEN}, timeout=30)


def test_the_package_is_cheap_to_import_and_shares_nothing_with_the_client():
    script = (
        "import sys, airflow_provider_telekom_sms.simulator\n"
        "assert not {'fastapi', 'starlette', 'uvicorn'} & set(sys.modules)\n"
        "from airflow_provider_telekom_sms.simulator import serve\n"
        "names = [n for n in sys.modules if n.startswith(('airflow.', 'airflow_provider_telekom_sms.api'))]\n"
        "assert not names, names\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
