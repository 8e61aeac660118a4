"""TLS, proxies, and what the environment may and may not change."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from airflow_provider_telekom_sms.exceptions import (
    ConfigurationError,
    ConnectionLostError,
    Fate,
    NotConnectedError,
    UnreadableReplyError,
)

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")

METHODS = pytest.mark.parametrize("method", ["POST", "GET"])


@pytest.fixture
def taking(reply):
    """Takes every message."""
    return lambda sock, request: sock.sendall(reply()) is None


@pytest.fixture
def tls(raw, taking, certificate):
    return raw(taking, tls=certificate[1])


def tunnel(sock, request):
    """Be a proxy: connect to where CONNECT says, and pass on bytes both ways."""
    host, _, port = request.split()[1].decode().partition(":")
    with socket.create_connection((host, int(port))) as upstream:
        sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

        def copy(source, target):
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    target.sendall(data)
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_WR)

        back = threading.Thread(target=copy, args=(upstream, sock), daemon=True)
        back.start()
        copy(sock, upstream)
        back.join(5)


class TestTls:
    def test_an_untrusted_certificate_names_the_setting(self, tls, settings, client):
        error = client.send_one(settings(tls.url, auth="token"), retry_for=9)
        assert type(error) is ConfigurationError
        assert error.fate is Fate.NOT_SENT
        assert "'verify'" in str(error)
        assert "self-signed" in str(error)
        assert tls.requests == []

    @pytest.mark.parametrize("kind", ["file", "folder", "false", "word"])
    def test_it_is_trusted_once_it_is_said(self, tls, settings, client, certificate, kind, tmp_path):
        verify = {"file": str(certificate[0]), "folder": str(tmp_path), "false": False, "word": "false"}[kind]
        if kind == "folder":
            import subprocess

            (tmp_path / "ca.pem").write_bytes(certificate[0].read_bytes())
            subprocess.run(["openssl", "rehash", str(tmp_path)], check=True)
        outcomes = client.send(settings(tls.url, auth="token", verify=verify), 2)
        assert [o.status for o in outcomes] == ["success"] * 2
        assert (len(tls.requests), tls.connections) == (2, 1)

    def test_a_certificate_for_another_name(self, tls, settings, client, certificate):
        chosen = settings(tls.url.replace("127.0.0.1", "localhost"), auth="token", verify=str(certificate[0]))
        error = client.send_one(chosen)
        assert type(error) is ConfigurationError
        assert tls.requests == []

    def test_a_file_without_certificates(self, tls, settings, client, tmp_path):
        (tmp_path / "ca.pem").write_text("nothing")
        with pytest.raises(ConfigurationError, match=r"verify.*ca\.pem"):
            client.send_one(settings(tls.url, verify=str(tmp_path / "ca.pem")))

    def test_https_to_a_plain_server(self, sim, settings, client):
        error = client.send_one(settings(sim.url.replace("http", "https"), auth="token"))
        assert type(error) is NotConnectedError
        assert error.fate is Fate.NOT_SENT

    def test_http_to_a_tls_server(self, tls, settings, client):
        error = client.send_one(settings(tls.url.replace("https", "http"), auth="token"), retry_for=5)
        assert type(error) is ConnectionLostError
        assert error.fate is Fate.UNKNOWN
        assert tls.connections == 1

    @METHODS
    def test_a_tls_connection_that_breaks_after_the_request(self, raw, settings, client, certificate, method):
        server = raw(lambda sock, request: False, tls=certificate[1])
        chosen = settings(server.url, auth="token", verify=False, http_method=method)
        error = client.send_one(chosen, retry_for=5)
        assert type(error) is ConnectionLostError
        assert (server.connections, len(server.requests)) == (1, 1)


@pytest.fixture(params=["extra", "environment", "environment-lower", "environment-bare"])
def proxied(request, monkeypatch):
    """Set a proxy in one of the ways; gives the extras that it takes."""

    def choose(proxy, scheme):
        if request.param == "extra":
            return {"proxy": proxy.url}
        value = proxy.url.removeprefix("http://") if request.param == "environment-bare" else proxy.url
        name = f"{scheme}_proxy"
        monkeypatch.setenv(name if request.param == "environment-lower" else name.upper(), value)
        return {}

    return choose


class TestProxies:
    def test_http_through_a_proxy(self, raw, taking, settings, client, proxied):
        proxy = raw(taking)
        extra = proxied(proxy, "http")
        outcomes = client.send(settings("http://sms.invalid", auth="token", **extra), 2)
        assert [o.status for o in outcomes] == ["success"] * 2
        assert len(proxy.requests) == 2
        assert proxy.requests[0].startswith(b"POST http://sms.invalid/json/send_message HTTP/1.1\r\n")

    def test_https_through_a_proxy(self, raw, settings, client, proxied, tls, certificate):
        proxy = raw(tunnel)
        extra = proxied(proxy, "https")
        chosen = settings(tls.url, auth="token", verify=str(certificate[0]), **extra)
        outcomes = client.send(chosen, 2)
        assert [o.status for o in outcomes] == ["success"] * 2
        assert [r.split(b" ")[0] for r in proxy.requests] == [b"CONNECT"]
        assert len(tls.requests) == 2

    @METHODS
    def test_a_proxy_that_drops_the_request(self, raw, settings, client, proxied, method):
        """The proxy may have passed it on: nothing is sent again."""
        proxy = raw(lambda sock, request: False)
        extra = proxied(proxy, "http")
        chosen = settings("http://sms.invalid", auth="token", http_method=method, **extra)
        error = client.send_one(chosen, retry_for=3)
        assert type(error) is ConnectionLostError
        assert error.fate is Fate.UNKNOWN
        assert (proxy.connections, len(proxy.requests)) == (1, 1)

    @METHODS
    def test_a_server_that_drops_the_request_behind_a_tunnel(
        self, raw, settings, client, proxied, certificate, method
    ):
        server = raw(lambda sock, request: False, tls=certificate[1])
        proxy = raw(tunnel)
        extra = proxied(proxy, "https")
        chosen = settings(server.url, auth="token", verify=False, http_method=method, **extra)
        error = client.send_one(chosen, retry_for=3)
        assert type(error) is ConnectionLostError
        assert error.fate is Fate.UNKNOWN
        assert len(server.requests) == len(proxy.requests) == 1

    @pytest.mark.parametrize(
        "answer", [b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", b""], ids=["407", "drop"]
    )
    def test_a_proxy_that_opens_no_tunnel(self, raw, settings, client, answer):
        proxy = raw(lambda sock, request: sock.sendall(answer))
        error = client.send_one(settings("https://sms.invalid", auth="token", proxy=proxy.url))
        assert type(error) is NotConnectedError
        assert error.fate is Fate.NOT_SENT
        assert "through the proxy" in str(error)

    def test_a_proxy_that_is_not_there(self, settings, client, free_port):
        chosen = settings("http://sms.invalid", auth="token", proxy=f"http://u:secret@127.0.0.1:{free_port}")
        error = client.send_one(chosen)
        assert type(error) is NotConnectedError
        assert error.fate is Fate.NOT_SENT
        assert "secret" not in str(error)

    def test_a_proxy_with_a_password(self, raw, taking, settings, client):
        proxy = raw(taking)
        url = proxy.url.replace("//", "//user:secret@")
        client.send_one(settings("http://sms.invalid", auth="token", proxy=url))
        assert b"\r\nproxy-authorization: basic dxnlcjpzzwnyzxq=\r\n" in proxy.requests[0].lower()

    def test_no_proxy_is_honoured(self, raw, taking, settings, client, monkeypatch):
        proxy, server = raw(taking), raw(taking)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert client.send_one(settings(server.url, auth="token")).status == "success"
        assert (len(proxy.requests), len(server.requests)) == (0, 1)

    def test_the_connection_rules_over_the_environment(self, raw, taking, settings, client, monkeypatch):
        proxy, other = raw(taking), raw(taking)
        monkeypatch.setenv("HTTP_PROXY", other.url)
        monkeypatch.setenv("NO_PROXY", "*")
        client.send_one(settings("http://sms.invalid", auth="token", proxy=proxy.url))
        assert (len(proxy.requests), len(other.requests)) == (1, 0)

    def test_a_proxy_of_another_kind(self, settings, client, monkeypatch):
        monkeypatch.setenv("HTTPS_PROXY", "socks5://user:secret@127.0.0.1:1080")
        with pytest.raises(ConfigurationError, match=r"HTTPS_PROXY.*socks5.*allowed: http, https") as caught:
            client.send_one(settings("https://sms.invalid"))
        assert "secret" not in str(caught.value)

    def test_what_a_proxy_answers_itself_is_unreadable(self, raw, reply, settings, client):
        proxy = raw(lambda sock, request: sock.sendall(reply(b"<h1>no</h1>", "502 Bad Gateway")) is None)
        error = client.send_one(settings("http://sms.invalid", auth="token", proxy=proxy.url), retry_for=3)
        assert type(error) is UnreadableReplyError
        assert len(proxy.requests) == 1


class TestTheRestOfTheEnvironment:
    @pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
    def test_ca_bundles_do_not_interfere(self, tls, settings, client, certificate, monkeypatch, name):
        monkeypatch.setenv(name, "/does/not/exist.pem")
        assert (
            client.send_one(settings(tls.url, auth="token", verify=str(certificate[0]))).status == "success"
        )
        monkeypatch.setenv(name, str(certificate[0]))
        assert type(client.send_one(settings(tls.url, auth="token"))) is ConfigurationError

    def test_netrc_does_not_interfere(self, raw, taking, settings, client, monkeypatch, tmp_path):
        netrc = tmp_path / ".netrc"
        netrc.write_text("machine 127.0.0.1 login me password secret\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("NETRC", str(netrc))
        server = raw(taking)
        client.send_one(settings(server.url, auth="token"))
        assert b"authorization" not in server.requests[0].lower()
