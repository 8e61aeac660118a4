"""The connection: read strictly, from JSON and from a URI, and tried by its Test button."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote

import pytest

from airflow_provider_telekom_sms.api.wire import Wire
from airflow_provider_telekom_sms.exceptions import ConfigurationError
from airflow_provider_telekom_sms.hooks.connection_form import CONN_FIELDS
from airflow_provider_telekom_sms.settings import EXTRAS, Settings
from airflow_provider_telekom_sms.simulator import DEFAULT_TOKEN, Fault

KEY = "0123456789abcdef" * 4


def parse(extra=None, *, host="", password=KEY):
    return Settings.parse("sms", password=password, host=host, extra=extra)


class TestExtras:
    def test_none(self):
        assert parse() == parse({}) == parse("") == parse("{}") == Settings(token=KEY)
        assert parse().base_url == "https://smsapi.telekom.sk"
        assert (parse().timeout, parse().verify, parse().auth) == (30.0, True, "session")
        assert parse().wire == Wire("json", "POST")

    @pytest.mark.parametrize(
        ("name", "given", "read"),
        [
            ("wire_format", "xml", Wire("xml", "POST")),
            ("wire_format", "JSON", Wire("json", "POST")),
            ("http_method", "GET", Wire("json", "GET")),
            ("http_method", "get", Wire("json", "GET")),
            ("auth", "token", "token"),
            ("auth", "Session", "session"),
            ("timeout", 12, 12.0),
            ("timeout", 1.5, 1.5),
            ("timeout", "12", 12.0),
            ("verify", True, True),
            ("verify", False, False),
            ("verify", "true", True),
            ("verify", "False", False),
            ("verify", "0", False),
            ("verify", __file__, __file__),
            ("proxy", "http://proxy:3128", "http://proxy:3128"),
            ("proxy", "http://u:p@proxy:3128/", "http://u:p@proxy:3128"),
            ("sender", "Telekom", "Telekom"),
            ("rcs_agent", "agent", "agent"),
            ("rate_limit", 2, 2.0),
            ("rate_limit", "0.5", 0.5),
            ("callback_url", "https://me/telekom/", "https://me/telekom"),
        ],
    )
    def test_a_value(self, name, given, read):
        field = "wire" if name in ("wire_format", "http_method") else name
        assert getattr(parse({name: given}), field) == read
        assert getattr(parse(json.dumps({name: given})), field) == read

    @pytest.mark.parametrize("name", EXTRAS)
    @pytest.mark.parametrize("empty", [None, ""])
    def test_empty_is_not_given(self, name, empty):
        assert parse({name: empty}) == parse()

    @pytest.mark.parametrize(
        ("name", "given", "allowed"),
        [
            ("wire_format", "yaml", "json, xml"),
            ("wire_format", 1, "json, xml"),
            ("http_method", "PUT", "POST, GET"),
            ("auth", "basic", "session, token"),
            *[("timeout", wrong, "above 0") for wrong in (0, -1, "x", "nan", "inf", True, [])],
            *[("rate_limit", wrong, "above 0") for wrong in (0, "-1", "many", False)],
            ("verify", "/does/not/exist", "CA file"),
            ("verify", "maybe\0", "CA file"),
            ("verify", 2, "CA file"),
            *[("proxy", wrong, "for example") for wrong in ("proxy:3128", "socks5://p:1", "http://", 7)],
            ("callback_url", "me.sk/telekom", "for example"),
            ("sender", 421903000000, "text"),
            ("rcs_agent", ["a"], "text"),
        ],
    )
    def test_a_wrong_value_is_named_with_what_is_allowed(self, name, given, allowed):
        with pytest.raises(ConfigurationError) as caught:
            parse({name: given})
        assert f"Connection 'sms': extra '{name}'" in str(caught.value)
        assert allowed in str(caught.value)
        assert caught.value.stops_campaign

    def test_an_unknown_extra_is_named(self):
        with pytest.raises(ConfigurationError, match=r"'formt', 'zone'.*unknown.*wire_format"):
            parse({"formt": "xml", "zone": 1, "auth": "token"})

    @pytest.mark.parametrize("extra", ["{", "[]", '"x"', "1", [1]])
    def test_not_an_object(self, extra):
        with pytest.raises(ConfigurationError, match=r"extra .*allowed: a JSON object"):
            parse(extra)

    def test_the_form_has_a_field_for_each(self):
        assert set(CONN_FIELDS) == set(EXTRAS)


class TestKeyAndHost:
    @pytest.mark.parametrize("password", [None, "", "  \n"])
    def test_no_key(self, password):
        with pytest.raises(ConfigurationError, match="'sms': password is empty"):
            parse(password=password)

    def test_a_key_copied_with_its_line_end(self):
        assert parse(password=f" {KEY}\n").token == KEY

    @pytest.mark.parametrize(
        ("host", "read"),
        [
            ("", "https://smsapi.telekom.sk"),
            ("https://x.sk/", "https://x.sk"),
            ("HTTPS://x.sk", "https://x.sk"),
            (" https://x.sk\n", "https://x.sk"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080/", "http://[::1]:8080"),
            ("https://x.sk?", "https://x.sk"),
        ],
    )
    def test_a_host(self, host, read):
        assert parse(host=host).base_url == read

    @pytest.mark.parametrize(
        "host",
        [
            "smsapi.telekom.sk",
            "127.0.0.1:8080",
            "ftp://x.sk",
            "https://",
            "https:x.sk",
            "https://x.sk/json",
            "https://x.sk?a=1",
            "https://x.sk#a",
            "https://me:secret@x.sk",
            "https://:secret@x.sk",
            "https://x.sk:0",
            "https://x.sk:99999",
            "https://x.sk:a",
            "https://[::1",
            "https://a b.sk",
            f"https://{'a' * 64}.sk",
        ],
    )
    def test_a_wrong_host(self, host):
        with pytest.raises(ConfigurationError, match=r"'sms': host .*for example https://smsapi") as caught:
            parse(host=host)
        assert "secret" not in str(caught.value)


@pytest.fixture
def described(monkeypatch):
    """Give the settings that a hook reads from an environment variable, both ways it can read them."""

    def read(value):
        from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook

        monkeypatch.setenv("AIRFLOW_CONN_TELEKOM_SMS_DEFAULT", value)
        settings = TelekomSmsHook().settings
        assert asyncio.run(TelekomSmsHook().aget_settings()) == settings
        return settings

    return read


ALL = {
    "wire_format": "xml",
    "http_method": "GET",
    "auth": "token",
    "timeout": "7.5",
    "verify": "false",
    "proxy": "http://proxy:3128",
    "sender": "Môj obchod",
    "rcs_agent": "agent",
    "rate_limit": "5",
    "callback_url": "https://me.sk/telekom?a=1",
}
READ = Settings(
    token=KEY,
    base_url="http://api.sk:81",
    wire=Wire("xml", "GET"),
    auth="token",
    timeout=7.5,
    verify=False,
    proxy="http://proxy:3128",
    sender="Môj obchod",
    rcs_agent="agent",
    rate_limit=5.0,
    callback_url="https://me.sk/telekom?a=1",
)
QUERY = "&".join(f"{name}={quote(value, safe='')}" for name, value in ALL.items())


class TestAirflow:
    @pytest.mark.parametrize(
        "uri",
        [
            pytest.param(f"telekom-sms://:{KEY}@http%3A%2F%2Fapi.sk:81/?{QUERY}", id="quoted-host"),
            pytest.param(f"telekom-sms://http://:{KEY}@api.sk:81/?{QUERY}", id="two-schemes"),
            pytest.param(f"telekom-sms://:{KEY}@api.sk:81/http?{QUERY}", id="scheme-as-schema"),
            pytest.param(
                f"telekom-sms://:{KEY}@api.sk:81/http?__extra__={quote(json.dumps(ALL), safe='')}",
                id="extra-as-json",
            ),
        ],
    )
    def test_a_uri(self, described, uri):
        assert described(uri) == READ

    @pytest.mark.parametrize("extra", [ALL, json.dumps(ALL)], ids=["object", "text"])
    def test_json(self, described, extra):
        connection = {"conn_type": "telekom_sms", "host": "http://api.sk:81", "password": KEY, "extra": extra}
        assert described(json.dumps(connection)) == READ

    def test_json_with_types_and_a_port_of_its_own(self, described):
        typed = ALL | {"timeout": 7.5, "verify": False, "rate_limit": 5}
        connection = {"conn_type": "telekom_sms", "host": "http://api.sk", "port": 81, "password": KEY}
        assert described(json.dumps(connection | {"extra": typed})) == READ

    @pytest.mark.parametrize(
        ("host", "port", "read"),
        [
            (None, 8443, "https://smsapi.telekom.sk:8443"),
            ("http://api.sk:81", 81, "http://api.sk:81"),
            ("http://api.sk:81/", 81, "http://api.sk:81"),
        ],
    )
    def test_a_port(self, described, host, port, read):
        connection = {"conn_type": "telekom_sms", "host": host, "port": port, "password": KEY}
        assert described(json.dumps(connection)).base_url == read

    def test_two_ports(self, described):
        connection = {"conn_type": "telekom_sms", "host": "http://api.sk:81", "port": 82, "password": KEY}
        with pytest.raises(ConfigurationError, match="host is not a URL"):
            described(json.dumps(connection))

    def test_the_least(self, described):
        assert described(json.dumps({"conn_type": "telekom_sms", "password": KEY})) == Settings(token=KEY)
        assert described(f"telekom-sms://:{KEY}@") == Settings(token=KEY)

    def test_a_host_without_scheme(self, described):
        with pytest.raises(ConfigurationError, match="'telekom_sms_default': host is not a URL"):
            described(f"telekom-sms://:{KEY}@api.sk")

    @pytest.mark.parametrize("kind", ["http", "postgres"])
    def test_another_type(self, described, kind):
        with pytest.raises(
            ConfigurationError, match=f"is of type '{kind}'; allowed: 'telekom_sms'"
        ) as caught:
            described(f"{kind}://me:{KEY}@api.sk")
        assert KEY not in str(caught.value)


class TestTestConnection:
    def test_ok(self, sim, hook):
        assert hook(sim.url).test_connection() == (True, f"Logged in at {sim.url}")
        assert sim.state.logins == 1

    def test_a_refused_key(self, sim, hook):
        assert hook(sim.url, key=KEY).test_connection() == (
            False,
            "API_TOKEN_NOT_FOUND: API token was not found",
        )

    def test_a_refused_address(self, sim, hook):
        sim.state.order(Fault("ip", endpoint="auth"))
        good, said = hook(sim.url).test_connection()
        assert not good
        assert "IP_NOT_ALLOWED" in said
        assert "127.0.0.1" in said

    def test_nobody_listens(self, hook, free_port, monkeypatch):
        from airflow_provider_telekom_sms import transport

        monkeypatch.setattr(transport.Transport.__init__, "__kwdefaults__", {"retry_for": 0.1})
        good, said = hook(f"http://127.0.0.1:{free_port}").test_connection()
        assert not good
        assert "no connection" in said

    @pytest.mark.parametrize("fault", ["503", "html", "empty", "cut", "drop_before"])
    def test_trouble(self, sim, hook, fault):
        sim.state.order(Fault(fault, endpoint="auth"))
        good, said = hook(sim.url).test_connection()
        assert not good
        assert said
        assert DEFAULT_TOKEN not in said

    @pytest.mark.parametrize("extra", [{"nonsense": 1}, {"timeout": "x"}, {"verify": "/no"}])
    def test_a_wrong_connection(self, hook, extra):
        good, said = hook("https://x.sk", **extra).test_connection()
        assert not good
        assert next(iter(extra)) in said

    def test_no_connection_at_all(self, monkeypatch):
        from airflow_provider_telekom_sms.hooks.telekom_sms import TelekomSmsHook

        monkeypatch.setattr(TelekomSmsHook, "get_connection", classmethod(lambda *_: 1 / 0))
        good, said = TelekomSmsHook().test_connection()
        assert not good
        assert said == "Connection 'telekom_sms_default' cannot be used: ZeroDivisionError"

    def test_a_server_that_repeats_the_key(self, raw, reply, hook):
        body = json.dumps(
            {
                "result": {
                    "status": "error",
                    "code": "API_TOKEN_NOT_FOUND",
                    "description": f"No {DEFAULT_TOKEN}",
                }
            }
        )
        server = raw(lambda sock, request: sock.sendall(reply(body.encode())) is None)
        assert hook(server.url).test_connection() == (False, "API_TOKEN_NOT_FOUND: No ***")
