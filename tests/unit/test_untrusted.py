"""Untrusted content: JSON read by place and type, text shown without control characters, cells without formulas."""

import csv
import io
import json
import logging
import os
import re

import numpy as np
import pytest
from anomaly_synthesis import cli
from anomaly_synthesis.files.json_lines import parse_line
from anomaly_synthesis.files.untrusted_json import JsonValue, NotJson, parse_json
from anomaly_synthesis.files.untrusted_text import LineFormatter, csv_cell, lines_of, one_line
from PIL import Image

from .refusals import refused

TREE = {"outputs": {"9": {"images": [5, None, True, 1.5, "x"]}}, "big": 10**400}


@pytest.mark.parametrize(
    ("keys", "kinds", "got", "accepted"),
    [
        (("outputs", "9", "images", 0), [dict], "['outputs']['9']['images'][0] is a number (5)", "an object"),
        (("outputs", "9", "images", 1), [list], "[1] is null", "a list"),
        (("outputs", "9", "images", 2), [int], "[2] is true", "a whole number"),
        (("outputs", "9", "images", 3), [int, str], "[3] is a number (1.5)", "a whole number or a text"),
        (("outputs", "9", "images", 4), [float], "[4] is a text ('x')", "a number"),
        (("outputs", "9", "images", 5), [str], "[5] is missing", "a value"),
        (("outputs", "8"), [dict], "['outputs']['8'] is missing", "a value"),
        (("outputs", 0), [dict], "['outputs'] is an object of 1", "a list"),
        (("outputs", "9", "images", "a"), [dict], "['images'] is a list of 5", "an object"),
        (("big",), [float], "['big'] is a number (1000", "a number that fits a float"),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(keys, kinds, got, accepted):
    with refused(subject="^/history$", got=re.escape(got), accepted=f"^{accepted}$"):
        JsonValue(TREE, "/history").at(*keys).of(*kinds)


def test_what_fits_is_given():
    value = JsonValue(TREE, "/history")
    assert [one.value for one in value.at("outputs", "9", "images").each()] == [5, None, True, 1.5, "x"]
    assert value.at("outputs", "9", "images", 0).of(float) == 5 and value.get("none") is None
    assert value.get("outputs", "9", "images", 1) is None and value.get("outputs", "9").at("images", 4).text() == "x"
    assert [key for key, _ in value.items()] == ["outputs", "big"] and value.at("big").of(int) == 10**400


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[" * 100_000, "nested more than 200"),
        (b"[" * 201 + b"]" * 201, "nested more than 200"),
        (b"", "Expecting"),
        (b"9" * 5000, "4300 digits"),
        (b"\xff", "utf-8"),
        (b"[" + b"0," * 4_000_001 + b"0]", "more than 4000000 values"),
    ],
    ids=["open", "deep", "empty", "digits", "bytes", "many"],
)
def test_what_is_no_json_is_refused(data, reason):
    with refused(subject="^file$", got=reason, accepted="^JSON$"):
        parse_json(data, "file")
    with pytest.raises(NotJson):
        parse_json(data, "file")
    with refused(subject="^m.jsonl, line 1$", got=f"not JSON .*{reason}", remedy="make the pairs again"):
        parse_line(data, "m.jsonl, line 1")
    assert parse_json("[" * 200 + "]" * 200, "file").is_a(list)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x9b2J\x7f", "\\x9b2J\\x7f"),
        ("a\u202eb", "a\\u202eb"),
        ("\u2028", "\\u2028"),
        ("\ud800", "\\ud800"),
        ("\u200bx", "\\u200bx"),
        ("größe 試験 \u200d", "größe 試験 \u200d"),
        (os.fsdecode(b"\xff"), "\\udcff"),
        (5, "5"),
    ],
)
def test_characters_that_control_a_terminal_are_shown_as_their_escapes(text, line):
    assert one_line(text) == line
    assert lines_of(text) == line.replace("\\n", "\n").replace("\\t", "\t")


FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    '"=1',
    "'=1",
    ' " =1',
    "＝1",
    "＋1",
    "－a",
    "＠x",
    "%0A=1",
    "|x",
    "−a",
    "\u200d=1",
    "x;=1",
    "x;\t@y",
    "x\n=1",
    "=cmd|' /C calc'!A0",
    "-",
    "--1",
    "+a1",
    "-1e5x",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_cells_do_not_start_with_a_formula(text):
    file = io.StringIO()
    csv.writer(file).writerow(["x", csv_cell(text), 1])
    for delimiter in ",;":  # as spreadsheets of other countries take it apart
        for row in csv.reader(io.StringIO(file.getvalue()), delimiter=delimiter):
            for cell in row:
                shown = cell.lstrip(' "`\u200d')
                assert not shown or shown[0] not in "=+-@\t\r＝＋－＠|%−", (text, cell)


@pytest.mark.parametrize(
    "value", [5, -5, -2.5, None, True, "-5", "+1.5e-3", "0", "-.5", "a-b", "ok", "1 of 2", "a = b", ""]
)
def test_numbers_and_plain_text_stay(value):
    assert csv_cell(value) == value and type(csv_cell(value)) is type(value)


def test_a_log_record_is_one_line(caplog):
    record = logging.LogRecord("x", logging.INFO, "", 1, "made %s", ("a\nERROR forged\x1b[2J",), None)
    assert LineFormatter("%(levelname)s %(message)s").format(record) == "INFO made a\\nERROR forged\\x1b[2J"


def test_names_of_files_do_not_control_the_terminal(tmp_path, capsys):
    evil = "x\x1b[31m\nFORGED\u202e"
    for folder in ("train/good", f"test/{evil}", f"ground_truth/{evil}", "test/good"):
        (tmp_path / "part" / folder).mkdir(parents=True)
    normal, mask = np.full((24, 24, 3), 90, np.uint8), np.zeros((24, 24), np.uint8)
    mask[4:9, 4:9] = 255
    for place in range(3):
        Image.fromarray(normal + place).save(tmp_path / "part/train/good" / f"{place}.png")
        Image.fromarray(normal + place).save(tmp_path / "part/test" / evil / f"{place}{evil}.png")
        Image.fromarray(mask).save(tmp_path / "part/ground_truth" / evil / f"{place}{evil}_mask.png")
    (tmp_path / "part/test" / evil / f"9{evil}.png").write_bytes(b"damaged")
    codes = [cli.main(["inspect", str(tmp_path)])]
    codes.append(cli.main(["split", "--data", str(tmp_path), "--out", str(tmp_path / "s.json"), "--ungrouped"]))
    for part in ("test", "ground_truth"):  # no pair could be saved under such a type
        (tmp_path / "part" / part / evil).rename(tmp_path / "part" / part / "crack")
    (tmp_path / "part/test/crack" / f"9{evil}.png").unlink()
    codes.append(cli.main(["split", "--data", str(tmp_path), "--out", str(tmp_path / "s.json"), "--ungrouped"]))
    assert codes == [1, 1, 0]
    out, errors = capsys.readouterr()
    assert "x\\x1b[31m\\nFORGED\\u202e" in out
    assert not {"\x1b", "\u202e"} & set(out + errors) and "\nFORGED" not in out + errors


def test_a_manifest_does_not_control_the_terminal(tmp_path, capsys):
    line = {
        "index": 0,
        "image": "a\x1b[2J",
        "mask": "\u202e",
        "normal": "n",
        "object": "o",
        "type": "t",
        "visibility": 1,
    }
    (tmp_path / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    assert cli.main(["worst", "--pairs", str(tmp_path), "--out", str(tmp_path / "w.png")]) == 1
    assert cli.main(["export", "--pairs", str(tmp_path), "--format", "plain", "--out", str(tmp_path / "e")]) in (0, 1)
    out, errors = capsys.readouterr()
    assert not {"\x1b", "\u202e"} & set(out + errors)
