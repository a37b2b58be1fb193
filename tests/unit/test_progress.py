"""Progress of passes: reported to a listener, drawn only on a terminal."""

import io
import re

import numpy as np
import pytest
from anomaly_synthesis import cli, cli_progress
from anomaly_synthesis.cli_progress import Bar, progress_line
from anomaly_synthesis.datasets.groups import groups_from_near_duplicates
from anomaly_synthesis.datasets.reading import read_dataset
from anomaly_synthesis.datasets.sample import check_samples
from anomaly_synthesis.datasets.split import make_split
from anomaly_synthesis.files.progress import counted, reported, tracked
from anomaly_synthesis.synthesis import negatives


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """clock[0] is the time, in seconds."""
    now = [100.0]
    monkeypatch.setattr(cli_progress.time, "monotonic", lambda: now[0])
    return now


def test_a_pass_is_reported_at_its_start_and_after_every_item():
    seen = []
    with reported(lambda *progress: seen.append(progress)):
        for item in tracked("reading", ["a", "b"]):
            seen.append(item)
    assert seen == [("reading", 0, 2), "a", ("reading", 1, 2), "b", ("reading", 2, 2)]
    assert list(tracked("reading", ["a", "b"])) == ["a", "b"] and len(seen) == 5, "no listener is left"


def test_batches_count_for_their_items_and_the_last_for_its_rest():
    seen = []
    with counted(lambda *progress: seen.append(progress)):
        assert list(tracked("measuring", range(0, 20, 8), 8, 20)) == [0, 8, 16]
    assert seen == [(8, 20), (16, 20), (20, 20)]


def test_none_leaves_the_listener_around_it():
    seen = []
    with reported(lambda *progress: seen.append(progress)), reported(None), counted(None):
        list(tracked("reading", [1]))
    assert seen == [("reading", 0, 1), ("reading", 1, 1)]


def test_a_line_shows_share_rate_and_time_left():
    assert progress_line("reading", 125, 500, 100, 10) == "reading [#####...............] 125/500  10.0/s  38 s left"
    assert progress_line("reading", 500, 500, 500, 50) == f"reading [{'#' * 20}] 500/500  10.0/s  50 s"
    assert progress_line("reading", 0, 500, 0, 0) == f"reading [{'.' * 20}] 0/500"


def test_a_long_pass_leaves_its_line_and_a_short_one_none(clock):
    terminal = Terminal()
    bar = Bar(terminal)
    for done in range(4):
        bar("reading", done, 3)
        clock[0] += 1
    for done in range(4):
        bar("comparing", done, 3)
    screen = _screen(terminal.getvalue())
    assert len(screen) == 2 and re.fullmatch(r"reading \[#{20}\] 3/3  1.0/s  3 s", screen[0]) and screen[1] == ""


def test_a_pass_that_fails_ends_its_line_before_the_error(clock):
    terminal = Terminal()
    bar = Bar(terminal)
    bar("reading", 0, 3)
    clock[0] += 5
    bar.close()
    bar.close()
    assert terminal.getvalue().endswith("0/3\n")


def test_updates_are_five_a_second_at_most_and_the_last_is_drawn(clock):
    terminal = Terminal()
    bar = Bar(terminal)
    for done in range(1001):
        bar("reading", done, 1000)
        clock[0] += 0.01
    drawn = terminal.getvalue().count("reading")
    assert 45 <= drawn <= 55 and "1000/1000" in terminal.getvalue()


def test_nothing_is_drawn_where_there_is_no_terminal_and_the_report_stays_clean(put, tmp_path, capsys, monkeypatch):
    put("tile/train/good/0.png")
    assert cli.main(["inspect", str(tmp_path / "tile")]) == 0
    seen = capsys.readouterr()
    assert "reading" not in seen.out + seen.err
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert cli.main(["inspect", str(tmp_path / "tile")]) == 0
    assert capsys.readouterr().out == seen.out and "reading images" in terminal.getvalue()


def test_thresholds_are_measured_with_progress(monkeypatch):
    one = negatives.Negative(1.0, np.linspace(0, 1, 101))
    monkeypatch.setattr(negatives, "measure_negatives", lambda base, jobs, settings, *_: [one for _ in jobs])
    seen = []
    with reported(lambda *progress: seen.append(progress)):
        found = negatives.measured_thresholds(None, lambda index: index, None, negatives.BATCH + 3)
    assert found.visible == pytest.approx(1)
    whole = negatives.BATCH + 3
    assert seen == [("measuring thresholds", done, whole) for done in (0, negatives.BATCH, whole)]


def test_every_image_is_reported_where_all_are_read_or_marked(put, spot, tmp_path):
    for number in range(3):
        put(f"images/{number}.png")
        put(f"masks/{number}.png", spot() if number else spot(value=0))
    passes = {}

    def note(what, done, of):
        passes.setdefault(what, []).append((done, of))

    with reported(note):
        samples = read_dataset(tmp_path, layout="stems")
        check_samples(samples)
        make_split(samples, groups_from_near_duplicates(samples))
    whole = [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert {what: passes[what] for what in ("reading masks", "checking images", "marking images")} == {
        "reading masks": whole,
        "checking images": whole,
        "marking images": whole,
    }
    assert passes["looking for near-duplicates"] == [*whole, (0, 3), (3, 3)]


def _screen(text):
    """Lines of a terminal after `text`; it knows carriage return, line feed and erase to the end of the line."""
    lines, column = [""], 0
    for part in re.findall(r"\x1b\[K|\r|\n|[^\x1b\r\n]+", text):
        if part == "\n":
            lines.append("")
            column = 0
        elif part == "\r":
            column = 0
        elif part == "\x1b[K":
            lines[-1] = lines[-1][:column]
        else:
            lines[-1] = lines[-1][:column] + part + lines[-1][column + len(part) :]
            column += len(part)
    return lines
