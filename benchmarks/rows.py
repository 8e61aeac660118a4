"""The campaign that all send: rows in a file, a text over two of their columns, and the body of a request."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks.server import KEY

#: About 80 characters with diacritics, two parts of Unicode.
TEXT = "Dobrý deň {name}, na faktúre za {month} chýba úhrada. Prosíme o platbu do piatich dní."
#: What everybody gets alike, over API v2.
SAME_TEXT = "Dobrý deň, dnes v noci od 23:00 do 5:00 bude naša zákaznícka zóna pre údržbu nedostupná."
NAMES = ("Ľubica", "Ján", "Žofia", "Šimon", "Katarína", "Miloš", "Anna", "Štefan", "Zuzana", "Dušan")
MONTHS = ("január", "február", "marec", "apríl", "máj", "jún", "júl", "august", "september", "október")
HEADERS = {
    "json": {"Content-Type": "application/json", "Accept": "application/json"},
    "xml": {"Content-Type": "application/xml", "Accept": "application/xml"},
}
_XML_ID = re.compile(r'<message id="(\d+)">\s*<status>success<')


def phone(row: int) -> str:
    """Give the number of a row, each another."""
    return f"42190{1 + row // 10**6}{row % 10**6:06d}"


def write_csv(path: Path, number: int) -> Path:
    """Write a campaign of so many rows."""
    with path.open("w", encoding="utf-8") as file:
        file.write("phone,name,month\n")
        file.writelines(f"{phone(row)},{NAMES[row % 10]},{MONTHS[row // 10 % 10]}\n" for row in range(number))
    return path


def write_parquet(path: Path, source: Path) -> Path:
    """Write what a CSV file holds as Parquet."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    texts = pyarrow.csv.ConvertOptions(column_types={"phone": pa.string()})
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(source, convert_options=texts), path)
    return path


def read(path: str) -> Iterator[dict[str, str]]:
    """Read the rows of a CSV file, as a script would."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def body(row: dict[str, str], wire: str) -> bytes:
    """Write the body of a send_message (manual v1), as a script would."""
    text = TEXT.format(**row)
    if wire == "json":
        return json.dumps({"to": row["phone"], "text": text, "token": KEY}, ensure_ascii=False).encode()
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><request><to>{row["phone"]}</to><text>{escape(text)}</text>'
        f"<token>{KEY}</token></request>"
    ).encode()


def body_v2(phones: list[str]) -> bytes:
    """Write the body of a message to many (manual v2)."""
    recipients = [{"phone": f"+{one}", "externalId": one} for one in phones]
    message = {"recipients": recipients, "channels": [{"type": "sms"}], "sms": {"text": SAME_TEXT}}
    return json.dumps(message, ensure_ascii=False).encode()


def message_id(reply: bytes, wire: str) -> str:
    """Read the id out of a reply, as a script would."""
    if wire == "json":
        return str(json.loads(reply)["messages"][0]["message_id"])
    found = _XML_ID.search(reply.decode())
    assert found
    return found[1]
