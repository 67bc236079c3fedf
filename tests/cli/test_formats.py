"""Times, sizes and numbers as people read them, and text that a terminal may see."""

from __future__ import annotations

import json
import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlops.cli.terminal import json_text, output_text
from jupyter_mlops.core import formats
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.formats import printable

NOW = 1_740_000_000_000


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.4, "now"),
        (1, "1 s ago"),
        (59.9, "59 s ago"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (3600, "1 h ago"),
        (86_400, "1 d ago"),
        (27 * 86_400, "27 d ago"),
    ],
)
def test_relative(seconds: float, expected: str) -> None:
    assert formats.relative(NOW - round(seconds * 1000), reference=NOW) == expected


@pytest.mark.parametrize("days", [28, 400, -1])
def test_relative_far_away_is_a_date(days: int) -> None:
    assert len(formats.relative(NOW - days * 86_400_000, reference=NOW).split("-")) == 3


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        (-5, "0.00 s"),
        (420, "0.42 s"),
        (9_994, "9.99 s"),
        (9_996, "10.0 s"),
        (59_940, "59.9 s"),
        (59_960, "1 min 00 s"),
        (245_000, "4 min 05 s"),
        (7_800_000, "2 h 10 min"),
        (180_000_000, "2 d 02 h"),
    ],
)
def test_duration(milliseconds: int, expected: str) -> None:
    assert formats.duration(milliseconds) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1536, "1.54 kB"), (999_600, "1 MB"), (5 * 10**15, "5e+03 TB")],
)
def test_size(count: int, expected: str) -> None:
    assert formats.size(count) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.98765432, 0.5, None], ["0.9877", "0.5000", ""]),
        ([1.0, 20.0], ["1", "20"]),
        ([0.9123456, 0.9123457], ["0.9123456", "0.9123457"]),
        ([0.5, math.nan, math.inf, -math.inf], ["0.5000", "NaN", "∞", "-∞"]),
        ([1234.5678, 0.001], ["1234.568", "0.001"]),
        ([1e-7, 2e-7], ["1.000e-07", "2.000e-07"]),
        ([1.5e12, 2e12], ["1.500e+12", "2.000e+12"]),
        ([math.nan], ["NaN"]),
        ([], []),
    ],
)
def test_numbers(values: list[float | None], expected: list[str]) -> None:
    assert formats.numbers(values) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.1, 1e-05, 0.016666666666666666, 3, None], ["0.1", "1e-05", "0.01667", "3", ""]),
        ([0.123456789, 0.123456788], ["0.123456789", "0.123456788"]),
        ([10**18], [str(10**18)]),
        ([], []),
    ],
)
def test_shortened(values: list[float | None], expected: list[str]) -> None:
    assert formats.shortened(values) == expected


@given(st.lists(st.floats() | st.none()))
def test_every_column_of_numbers_can_be_formatted(values: list[float | None]) -> None:
    assert len(formats.numbers(values)) == len(values)
    assert len(formats.shortened(values)) == len(values)


@given(st.lists(st.floats()), st.integers(1, 40))
def test_every_history_has_a_sparkline(values: list[float], width: int) -> None:
    assert len(formats.sparkline(values, width=width)) == min(len(values), width)


def test_a_sparkline_rises_with_its_values() -> None:
    assert formats.sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert formats.sparkline([1.0, math.nan, 1.0]) == "▄·▄"


@given(st.text())
def test_printable_text_moves_no_cursor(text: str) -> None:
    shown = printable(text)
    assert not [character for character in shown if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")]
    shown.encode()


def test_printable_keeps_what_is_harmless() -> None:
    assert printable("naïve 🎉 日本") == "naïve 🎉 日本"
    assert printable("a\nb\tc") == "a\\nb\\tc"
    assert printable("a\nb\tc", lines=True) == "a\nb\tc"
    assert printable("\u202etxt.exe") == "\\u202etxt.exe"
    assert printable("\ud800") == "\\ud800"


def test_output_of_a_terminal_program_becomes_lines() -> None:
    assert output_text("\x1b[31mred\x1b[0m\r\n 10%\r100%\rdone\nbye\x07") == "red\ndone\nbye\\x07"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": math.nan}, {"a": "NaN"}),
        ([math.inf, -math.inf, 1.5], ["Infinity", "-Infinity", 1.5]),
        ({"nested": [{"x": (math.nan,)}]}, {"nested": [{"x": ["NaN"]}]}),
    ],
)
def test_json_has_words_for_what_it_lacks(value: object, expected: object) -> None:
    assert json.loads(json_text(value)) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("0.5", 0.5),
        ("90s", 90),
        ("10m", 600),
        ("10min", 600),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1d2h", 93600),
    ],
)
def test_a_length_of_time_is_read(text: str, seconds: float) -> None:
    assert formats.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-1h", "h", "1h30", "1m1h", "1e3s", "9" * 20, "inf", "1 week"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="is no length of time; such are 90s, 10m, 2h and 1h30m"):
        formats.parse_duration(text)
