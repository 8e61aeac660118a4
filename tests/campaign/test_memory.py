"""Planning takes time in proportion to the rows, and no memory that grows with them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("plan_file.py")


@pytest.fixture
def planned(tmp_path):
    def plan(number):
        path = tmp_path / f"{number}.csv"
        with path.open("w", encoding="utf-8") as file:
            file.write("phone,name,amount\n")
            file.writelines(
                f"090{1 + row // 10**6}{row % 10**6:06d},Žofia {row},{row % 1000}.50\n"
                for row in range(number)
            )
        done = subprocess.run(
            [sys.executable, str(SCRIPT), str(path)], capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        print(f"{number:>9} rows: {found['seconds']:.2f} s, {found['seconds'] / number * 1e6:.1f} µs a row "
              f"(CPU {found['cpu'] / number * 1e6:.1f}), peak {found['peak_kb'] / 1024:.0f} MB")  # fmt: skip
        assert found["planned"] == found["rows"] == number
        return found

    return plan


def test_planning_ten_times_as_many_rows_takes_no_more_memory(planned):
    few, many = planned(10_000), planned(100_000)
    assert many["peak_kb"] - few["peak_kb"] < 30 * 1024


@pytest.mark.slow
def test_planning_a_million_rows(planned):
    few, some, many = planned(10_000), planned(100_000), planned(1_000_000)
    assert many["peak_kb"] - few["peak_kb"] < 60 * 1024
    # Printed above are the figures; these bounds only catch what grows by the square, on a busy machine too.
    assert many["cpu"] < 25 * some["cpu"]
    assert many["cpu"] / 1_000_000 < 200e-6
