from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_telekom_sms.api.http import Response
from airflow_provider_telekom_sms.api.wire import Wire
from airflow_provider_telekom_sms.exceptions import (
    ConfigurationError,
    InvalidMessageError,
    MessageRejectedError,
    TelekomSmsError,
    UnreadableReplyError,
)

WIRES = [Wire(kind, method) for kind in ("json", "xml") for method in ("POST", "GET")]
OK_JSON = b'{"result": {"status": "success", "description": "", "code": "OK"}}'
OK_XML = b"<response><result><status>success</status><code>OK</code></result></response>"
ERROR_JSON = OK_JSON.replace(b"success", b"error").replace(b"OK", b"TEXT_REQUIRED")
ERROR_XML = OK_XML.replace(b"success", b"error").replace(b"OK", b"TEXT_REQUIRED")
BODIES = {"json": (OK_JSON, ERROR_JSON), "xml": (OK_XML, ERROR_XML)}


def fits_xml(text: str) -> bool:
    """Char of XML 1.0, section 2.2."""
    ranges = [(0x9, 0xA), (0xD, 0xD), (0x20, 0xD7FF), (0xE000, 0xFFFD), (0x10000, 0x10FFFF)]
    return all(any(first <= ord(character) <= last for first, last in ranges) for character in text)


nasty = (
    st.text()
    | st.text("&<>\"'\r\n\t ]=+%;#\\€ľ😀\u2028\u0085\ufeff\xa0")
    | st.sampled_from(["]]>", "&#13;", "<!-- -->", "\r\n", "None", "null", "false", "", "a&b=c", "%20+"])
)
values = nasty | st.booleans() | st.integers(-(10**9), 10**9) | st.none()
parameters = st.dictionaries(st.sampled_from(["to", "text", "from", "unicode", "priority"]), values)


@given(parameters)
@example({"text": "a\rb\r\nc"})
def test_json_round_trip(parsed, given_parameters):
    request = Wire("json").request("send_message", given_parameters)
    sent = parsed(request)
    assert sent == {name: value for name, value in given_parameters.items() if value is not None}
    # 1 == True, but on the wire they are two things.
    assert {type(value) for value in sent.values()} <= {str, bool, int}
    assert all(isinstance(sent[name], bool) == isinstance(given_parameters[name], bool) for name in sent)


def in_text(given_parameters):
    texts = {True: "1", False: "0"}
    return {
        name: texts[value] if isinstance(value, bool) else str(value)
        for name, value in given_parameters.items()
        if value is not None
    }


@given(st.sampled_from(["json", "xml"]), parameters)
def test_get_round_trip(parsed, wire_format, given_parameters):
    assert parsed(Wire(wire_format, "GET").request("ping", given_parameters)) == in_text(given_parameters)


@given(parameters)
@example({"text": "a\rb\r\nc", "from": "]]>&#13;"})
def test_xml_round_trip(parsed, given_parameters):
    expected = in_text(given_parameters)
    if all(fits_xml(text) for text in expected.values()):
        assert parsed(Wire("xml").request("send_message", given_parameters)) == expected
    else:
        with pytest.raises(InvalidMessageError, match="cannot travel in XML"):
            Wire("xml").request("send_message", given_parameters)


@pytest.mark.parametrize("character", ["\x00", "\x08", "\x0b", "\x0c", "\x1f", "\ufffe", "\uffff"])
def test_forbidden_in_xml_is_named_and_not_quoted(character):
    with pytest.raises(InvalidMessageError) as error:
        Wire("xml").request("send_message", {"to": "1", "text": f"tajné{character}"})
    assert f"text: found U+{ord(character):04X} at position 6" in str(error.value)
    assert "tajné" not in str(error.value)


@pytest.mark.parametrize("wire", WIRES, ids=str)
@pytest.mark.parametrize("surrogate", ["\ud83d", "a\udfff", "\udc00\ud83d"])
def test_lone_surrogate_is_refused_everywhere(wire, surrogate):
    with pytest.raises(InvalidMessageError, match=r"from: found U\+D"):
        wire.request("send_message", {"from": surrogate})


def test_bytes_on_the_wire():
    given_parameters = {"text": "ľ€ & \r", "unicode": False, "priority": 2, "from": None}
    json_request = Wire().request("send_message", given_parameters)
    assert json_request.body == '{"text":"ľ€ & \\r","unicode":false,"priority":2}'.encode()
    assert json_request.headers == {
        "Accept": "application/json",
        "Content-Type": "application/json; charset=utf-8",
    }
    xml_request = Wire("xml").request("send_message", given_parameters)
    assert xml_request.body == (
        '<?xml version="1.0" encoding="UTF-8"?>\n<request><text>ľ€ &amp; &#13;</text>'
        "<unicode>0</unicode><priority>2</priority></request>".encode()
    )
    assert xml_request.headers == {
        "Accept": "application/xml",
        "Content-Type": "application/xml; charset=utf-8",
    }
    get_request = Wire("xml", "GET").request("send_message", given_parameters)
    assert (get_request.body, get_request.headers) == (None, {"Accept": "application/xml"})
    assert get_request.query == {"text": "ľ€ & \r", "unicode": "0", "priority": "2"}


@pytest.mark.parametrize("setting", [{"wire_format": "yaml"}, {"http_method": "post"}])
def test_other_formats_and_methods(setting):
    with pytest.raises(ConfigurationError, match=f"{next(iter(setting))}: found"):
        Wire(**setting)


@pytest.mark.parametrize("wire_format", ["json", "xml"])
class TestStatus:
    @pytest.mark.parametrize("status", [200, 201, 202])
    def test_success(self, wire_format, status):
        read = Wire(wire_format).read(Response(status, {}, BODIES[wire_format][0]))
        assert read["result"]["code"] == "OK"

    @pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 422])
    def test_error(self, wire_format, status):
        with pytest.raises(MessageRejectedError, match="TEXT_REQUIRED"):
            Wire(wire_format).read(Response(status, {}, BODIES[wire_format][1]))

    @pytest.mark.parametrize("body", [0, 1])
    @pytest.mark.parametrize("status", [100, 301, 302, 304, 307, 500, 502, 503, 504, 600, 999])
    def test_others_are_unreadable_whatever_they_say(self, wire_format, status, body):
        with pytest.raises(UnreadableReplyError, match=f"HTTP {status}"):
            Wire(wire_format).read(Response(status, {}, BODIES[wire_format][body]))

    @pytest.mark.parametrize("status", [400, 403, 404, 499])
    def test_success_beside_a_refusal_is_unreadable(self, wire_format, status):
        with pytest.raises(UnreadableReplyError, match="contradicts"):
            Wire(wire_format).read(Response(status, {}, BODIES[wire_format][0]))

    def test_byte_order_mark_and_blanks(self, wire_format):
        body = b"\xef\xbb\xbf\r\n " + BODIES[wire_format][0] + b"\n"
        assert Wire(wire_format).read(Response(200, {}, body))["result"]["status"] == "success"

    @pytest.mark.parametrize("cut", range(1, 60, 7))
    def test_cut(self, wire_format, cut):
        with pytest.raises(UnreadableReplyError):
            Wire(wire_format).read(Response(200, {}, BODIES[wire_format][0][:-cut]))


BOMB = b'<!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
JSON_ODDITIES = [
    b"",
    b" ",
    b"<!DOCTYPE html><html><body>Login</body></html>",
    b"OK",
    b"null",
    b"[]",
    b'"OK"',
    b"17",
    b"{}",
    b'{"result": null}',
    b'{"result": "OK"}',
    b'{"result": []}',
    b'{"result": {}}',
    b'{"result": {"status": "success"}}',
    b'{"result": {"status": "error"}}',
    b'{"result": {"status": "error", "code": ""}}',
    b'{"result": {"status": "error", "code": 5}}',
    b'{"result": {"status": "error", "code": "OK"}}',
    b'{"result": {"status": "success", "code": "NO_CREDIT"}}',
    b'{"result": {"status": true, "code": "OK"}}',
    b'{"result": {"status": {}, "code": []}}',
    b'{"session_id": "a"}',
    OK_JSON + b"}",
    OK_JSON.replace(b'""', b'"\xff"'),
    OK_JSON.decode().encode("utf-16"),
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"result": ' + b"9" * 5000 + b"}",
    OK_XML,
]
XML_ODDITIES = [
    b"",
    b"<!DOCTYPE html><html><body>Login</body></html>",
    b"<html><body>Login</body></html>",
    b"<response/>",
    b"<response><result/></response>",
    b"<response><result>OK</result></response>",
    b"<result><status>success</status><code>OK</code></result>",
    BOMB + OK_XML,
    BOMB + OK_XML.replace(b"OK", b"&b;"),
    b"<!DOCTYPE response>" + OK_XML,
    b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + OK_XML.replace(b"OK", b"&x;"),
    OK_XML.replace(b"OK", b"&nbsp;"),
    OK_XML.replace(b"OK", b"\xff"),
    OK_XML.replace(b"OK", b"\x00"),
    OK_XML.decode().encode("utf-16"),
    OK_XML + OK_XML,
    b"<a>" * 100_000,
    OK_JSON,
]


@pytest.mark.parametrize(
    ("wire_format", "body"),
    [("json", body) for body in JSON_ODDITIES] + [("xml", body) for body in XML_ODDITIES],
    ids=lambda value: value if isinstance(value, str) else repr(value[:60]),
)
@pytest.mark.parametrize("status", [200, 403])
def test_what_the_manual_does_not_show(wire_format, body, status):
    with pytest.raises(UnreadableReplyError):
        Wire(wire_format).read(Response(status, {}, body))


@given(st.sampled_from(WIRES), st.integers(100, 599), st.binary())
def test_no_bytes_raise_anything_but_our_errors(wire, status, body):
    with pytest.raises(TelekomSmsError):
        wire.read(Response(status, {}, body))


@given(st.sampled_from(["json", "xml"]), st.data())
def test_no_damage_raises_anything_but_our_errors(wire_format, data):
    body = bytearray(data.draw(st.sampled_from(BODIES[wire_format])))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(TelekomSmsError):
        assert isinstance(Wire(wire_format).read(Response(200, {}, bytes(body))), dict)


@pytest.mark.parametrize("wire_format", ["json", "xml"])
def test_error_tells_status_type_and_length_but_no_content(wire_format):
    body = b'{"session_id": "a1da7970", "text": "tajne"} <session_id>a1da7970</session_id>'
    with pytest.raises(UnreadableReplyError) as error:
        Wire(wire_format).read(Response(200, {"content-type": "text/html; charset=utf-8"}, body))
    assert str(error.value).startswith(f"HTTP 200, text/html, {len(body)} bytes: ")
    assert "a1da7970" not in repr(error.value)
    assert "tajne" not in repr(error.value)
    # Nor does an error that hangs on it: a JSONDecodeError carries the document.
    assert error.value.__context__ is None


@pytest.mark.parametrize("content_type", ["", "nonsense", "a b\r\nSet-Cookie: s", "x" * 10_000])
def test_content_type_is_not_trusted(content_type):
    with pytest.raises(UnreadableReplyError, match=r"HTTP 200, no content type, 0 bytes"):
        Wire().read(Response(200, {"content-type": content_type}, b""))


def test_xml_declaration_may_come_late_and_be_wrong():
    body = b'\r\n <?xml version="1.0" encoding="utf-7"?>' + OK_XML
    assert Wire("xml").read(Response(200, {}, body))["result"]["code"] == "OK"
