"""The engine against simulated servers that die, hang, refuse, forget and send garbage: every pair is made, once."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("aiohttp")

from anomaly_synthesis.batch import commands
from anomaly_synthesis.batch.job import read_job
from anomaly_synthesis.batch.table import Lock, Table
from anomaly_synthesis.batch.workflow import read_workflow
from anomaly_synthesis.batch.writer import Writer
from anomaly_synthesis.datasets.mvtec import read_mvtec
from anomaly_synthesis.datasets.pairs import read_manifest

from . import simulated_server
from .batch_jobs import FAST, content, run, write_job
from .refusals import refused
from .simulated_server import Simulated


@pytest.fixture
def server():
    with Simulated() as running:
        yield running


@pytest.fixture
def other():
    with Simulated() as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of 12 pairs of an undisturbed run, as `content` reads it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with Simulated() as running:
        run(write_job(folder, [running]))
    return content(folder / "pairs")


def _whole(folder, undisturbed, count=12):
    records = read_manifest(folder / "pairs")
    assert [record["item"] for record in records] == [record["index"] for record in records] == list(range(count))
    assert content(folder / "pairs") == undisturbed
    return True


def test_a_job_makes_a_folder_of_pairs(server, tmp_path):
    counts = run(write_job(tmp_path, [server]))
    assert counts["written"] == 12 and sum(counts.values()) == 12
    samples = [sample for sample in read_mvtec(tmp_path / "pairs") if sample.type != "good"]
    assert {(sample.object, sample.type) for sample in samples} == {("plate", "scratch")} and len(samples) == 12
    record = read_manifest(tmp_path / "pairs")[5]
    assert record["settings"] == {"Make Pair.seed": 5} and record["seconds"] == 2.5
    for key in ("image", "mask", "normal", "seed", "visibility", "visible", "base", "adapter"):
        assert key in record
    assert not list((tmp_path / "pairs.batch" / "spool").iterdir())


def test_what_servers_call_their_files_decides_no_path(server, tmp_path):
    run(write_job(tmp_path, [server], count=2))
    names = {path.name for path in tmp_path.rglob("*.png")}
    assert {name for name in names if not name.startswith("normal_")} == {
        "000000.png",
        "000001.png",
        "000000_mask.png",
        "000001_mask.png",
    }


def test_two_servers_share_the_work_and_the_pairs_are_the_same(server, other, tmp_path, undisturbed):
    server.delay = other.delay = 0.02
    run(write_job(tmp_path, [server, other]))
    assert _whole(tmp_path, undisturbed)
    assert len(server.ran) >= 3 and len(other.ran) >= 3 and sorted(server.ran + other.ran) == list(range(12))


def test_servers_that_restart_without_their_queue_lose_nothing(server, other, tmp_path, undisturbed):
    server.delay = other.delay = 0.05

    async def disturb(_):
        for _ in range(2):
            for victim in (server, other):
                await asyncio.sleep(0.15)
                await asyncio.to_thread(victim.restart)

    run(write_job(tmp_path, [server, other]), during=disturb)
    assert _whole(tmp_path, undisturbed)


def test_dropped_sockets_and_a_wiped_queue_lose_nothing(server, tmp_path, undisturbed):
    server.delay = 0.03

    async def disturb(_):
        while True:
            await asyncio.sleep(0.05)
            await asyncio.to_thread(server.drop_sockets)
            server.clear_queue()

    run(write_job(tmp_path, [server]), during=disturb)
    assert _whole(tmp_path, undisturbed)


def test_the_items_of_a_dead_server_go_to_the_other(server, other, tmp_path, undisturbed):
    server.delay = other.delay = 0.03

    async def disturb(_):
        await asyncio.sleep(0.1)
        await asyncio.to_thread(server.kill)

    run(write_job(tmp_path, [server, other]), during=disturb)
    server.start()
    assert _whole(tmp_path, undisturbed)


@pytest.mark.parametrize("trouble", ["hang", "garbage", "refuse", "full", "lose_answers"])
def test_a_server_in_trouble_for_a_while_loses_nothing(server, tmp_path, undisturbed, trouble):
    server.delay = 0.02
    bad = {
        "hang": True,
        "garbage": {"/queue", "/history", "/prompt", "/view"},
        "refuse": 500,
        "full": 0,
        "lose_answers": 3,
    }

    async def disturb(_):
        await asyncio.sleep(0.1)
        before = getattr(server, trouble)
        setattr(server, trouble, bad[trouble])
        await asyncio.sleep(1)
        setattr(server, trouble, before)

    run(write_job(tmp_path, [server]), during=disturb)
    assert _whole(tmp_path, undisturbed)


def test_a_queue_full_of_others_prompts_does_not_hold_up_the_rest(server, other, tmp_path, undisturbed):
    server.delay, other.delay = 0.05, 0.01
    server.fill(200)  # 10 s of work
    began = time.monotonic()
    run(write_job(tmp_path, [server, other]))
    assert time.monotonic() - began < 8
    assert _whole(tmp_path, undisturbed)


def test_a_server_that_gives_its_own_ids_is_followed(server, tmp_path, undisturbed):
    server.own_ids, server.delay, server.lose_answers = True, 0.02, 2
    run(write_job(tmp_path, [server]))
    assert _whole(tmp_path, undisturbed)
    assert sorted(server.ran) == list(range(12)), "a prompt whose answer was lost is found again, not repeated"


def test_a_prompt_whose_answer_is_lost_is_not_repeated(server, tmp_path, undisturbed):
    server.delay, server.lose_answers = 0.02, 4
    run(write_job(tmp_path, [server]))
    assert _whole(tmp_path, undisturbed) and sorted(server.ran) == list(range(12))


def test_an_item_that_always_fails_is_set_aside_and_the_rest_continues(server, tmp_path):
    server.fails = {3}
    server.odd = {5: "size", 6: "empty", 7: "two", 8: "text", 9: "damaged", 10: "normal", 11: "blank"}
    counts = run(write_job(tmp_path, [server]))
    assert counts["written"] == 4 and counts["set_aside"] == 8
    records = read_manifest(tmp_path / "pairs")
    assert [record["item"] for record in records] == [0, 1, 2, 4]
    assert [record["index"] for record in records] == list(range(4))
    table = Table(tmp_path / "pairs.batch" / "items.sqlite")
    errors = {row.item: row.error for row in table.rows("set_aside")}
    table.close()
    expected = {
        3: "ValueError: bad",
        5: "23 x 24",
        6: "empty",
        7: "2 images",
        8: "not a readable image",
        9: "image: damaged at byte",
        10: "normal is 24 x 23",
        11: "image equals normal inside the mask",
    }
    assert all(words in errors[item] for item, words in expected.items()), errors
    assert server.ran.count(3) == 3
    server.fails, server.odd = set(), {}
    commands.run_batch(tmp_path / "job.yaml", lambda _: None, resume=True, retry=True, timing=FAST)
    assert sorted(record["item"] for record in read_manifest(tmp_path / "pairs")) == list(range(12))


def test_an_item_that_runs_too_long_is_stopped_and_set_aside(server, tmp_path):
    server.stuck = {2}
    counts = run(write_job(tmp_path, [server], count=5, limits={"seconds": 1, "tries": 2}))
    assert counts == {"waiting": 0, "sent": 0, "fetched": 0, "written": 4, "set_aside": 1}


def test_an_item_that_kills_its_server_is_set_aside(server, tmp_path):
    server.kills = {2}
    counts = run(write_job(tmp_path, [server], count=5))
    assert counts["written"] == 4 and counts["set_aside"] == 1


def test_a_job_in_which_everything_fails_stops(server, tmp_path):
    server.fails = set(range(1000))
    with refused(subject="job.yaml$", got="20 items in a row were set aside.*ValueError: bad"):
        run(write_job(tmp_path, [server], count=1000, limits={"tries": 1}))


def test_a_server_that_cannot_run_the_job_is_left_out(server, other, tmp_path, undisturbed):
    other.info = {name: node for name, node in other.info.items() if name != "MakePair"}
    run(write_job(tmp_path, [server, other]))
    assert _whole(tmp_path, undisturbed) and not other.ran


def test_a_server_that_comes_back_as_another_version_is_examined_again(server, other, tmp_path, undisturbed):
    server.delay = other.delay = 0.05
    seen = []

    async def update(runner):
        while not other.ran:
            await asyncio.sleep(0.01)
        other.version, other.info = "0.40.0", {name: node for name, node in other.info.items() if name != "MakePair"}
        await asyncio.to_thread(other.restart)
        seen.extend([runner.workers[1], len(other.ran)])

    run(write_job(tmp_path, [server, other]), during=update)
    worker, ran = seen
    assert _whole(tmp_path, undisturbed)
    assert worker.note.startswith("not used") and "no node MakePair" in worker.note and len(other.ran) == ran


def test_items_that_a_changed_server_refuses_go_to_the_other(server, other, tmp_path, undisturbed):
    server.delay = other.delay = 0.05
    workers = []

    async def change(runner):
        while not other.ran:
            await asyncio.sleep(0.01)
        workers.extend(runner.workers)
        other.info = {name: node for name, node in other.info.items() if name != "MakePair"}

    run(write_job(tmp_path, [server, other], count=30, limits={"tries": 1}), during=change)
    assert [record["item"] for record in read_manifest(tmp_path / "pairs")] == list(range(30)), "none was set aside"
    assert workers[1].note.startswith("not used") and "no node MakePair" in workers[1].note


def test_servers_of_several_versions_are_reported(server, other, tmp_path, undisturbed, caplog):
    other.version = "0.3.64"
    run(write_job(tmp_path, [server, other]))
    assert _whole(tmp_path, undisturbed)
    assert "several versions" in caplog.text and "0.3.64" in caplog.text and "0.33.0" in caplog.text


def _no_server(path) -> str:
    timing = FAST.__class__(**{**FAST.__dict__, "start": 0.2})
    with pytest.raises(ValueError, match="no server can be used:\n") as refusal:
        run(path, timing)
    return str(refusal.value)


def test_no_server_or_no_comfyui_is_reported(server, tmp_path):
    path = write_job(tmp_path, [server])
    server.garbage = {"/system_stats"}
    assert "accepted is JSON" in _no_server(path)
    server.garbage, server.version = set(), None
    assert "not as ComfyUI does" in _no_server(path)
    server.version, server.hang = "0.33.0", True
    assert "no answer to /system_stats in 0.6 s" in _no_server(path)
    server.hang = False
    server.kill()
    assert "ClientConnector" in _no_server(path)
    server.start()


def test_a_second_runner_is_refused(server, tmp_path):
    path = write_job(tmp_path, [server])
    run(path)
    lock = Lock(tmp_path / "pairs.batch")
    with pytest.raises(ValueError, match="another runner"):
        run(path)
    lock.release()
    run(path)


def test_an_output_folder_of_another_run_is_refused(server, tmp_path):
    run(write_job(tmp_path, [server]))
    with pytest.raises(ValueError, match="another folder"):
        run(write_job(tmp_path, [server], inputs={"Make Pair": {"seed": {"item": 7}}}))
    assert run(write_job(tmp_path, [server], count=15))["written"] == 15, "the count may grow"
    with refused(subject="count", got="had 15 items, now it has 2", accepted="grows, not shrinks"):
        run(write_job(tmp_path, [server], count=2))


def test_pairs_that_were_deleted_are_made_again(server, tmp_path, undisturbed):
    path = write_job(tmp_path, [server])
    run(path)
    (tmp_path / "pairs" / read_manifest(tmp_path / "pairs")[4]["mask"]).unlink()
    run(path)
    assert _whole(tmp_path, undisturbed)


def _cut_normals(root):
    for path in root.rglob("good/*"):
        path.write_bytes(path.read_bytes()[:30])


def _lose(root, *changes):
    """Lines of the manifest by number: None takes one out, else what it becomes."""
    lines = (root / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    for number, change in changes:
        lines[number] = b"" if change is None else change(lines[number])
    (root / "manifest.jsonl").write_bytes(b"".join(lines))


@pytest.mark.parametrize(
    ("damage", "again"),
    [
        (lambda root: (root / read_manifest(root)[4]["image"]).write_bytes(bytes(90)), 1),
        (lambda root: _lose(root, (3, None), (7, lambda line: line[:20] + b"\n")), 2),
        (lambda root: _lose(root, (3, lambda line: line + line)), 0),
        (lambda root: (_lose(root, (5, None)), (root / read_manifest(root)[0]["mask"]).unlink()), 2),
        (lambda root: [path.unlink() for path in list(root.rglob("good/*"))[:1]], 0),
        (_cut_normals, None),
    ],
    ids=["image of zeros", "two lines", "a line twice", "line and mask", "one normal's copy", "all normals"],
)
def test_lost_pairs_are_made_again_alone_and_in_their_place(server, tmp_path, undisturbed, damage, again):
    path, root = write_job(tmp_path, [server]), tmp_path / "pairs"
    run(path)
    before = len(server.ran)
    damage(root)
    run(path)
    assert _whole(tmp_path, undisturbed)
    if again is not None:
        assert len(server.ran) - before == again


def test_a_place_is_kept_over_a_stop_before_the_pair_is_made_again(server, tmp_path, undisturbed):
    path, root = write_job(tmp_path, [server]), tmp_path / "pairs"
    run(path)
    _lose(root, (2, None), (6, lambda line: b"\n"))
    (root / _line(root, 9)["image"]).unlink()
    job, raw = read_job(path), read_workflow(read_job(path).workflow)
    table = Table(job.folder / "items.sqlite")
    Writer(job, raw, table, lambda _: {}).release()  # stopped right after it has read the folder
    table.close()
    assert [line["index"] for line in read_manifest(root)] == [0, 1, 3, 4, 5, 7, 8, 10, 11]
    run(path)
    assert _whole(tmp_path, undisturbed)


def _line(root, index):
    lines = [json.loads(line) for line in (root / "manifest.jsonl").read_bytes().splitlines() if line]
    return next(line for line in lines if line["index"] == index)


def test_a_damaged_spool_is_made_again(server, tmp_path, undisturbed):
    path = write_job(tmp_path, [server])
    job = read_job(path)

    async def damage(runner):
        spool = job.folder / "spool"
        while True:
            for file in spool.glob("*.zip") if spool.exists() else ():
                file.write_bytes(file.read_bytes()[:-40])
                return
            await asyncio.sleep(0)

    server.odd = {}
    server.delay = 0.01
    run(path, during=damage)
    assert _whole(tmp_path, undisturbed)


def test_a_full_disk_stops_the_run_and_resume_completes_it(server, tmp_path, undisturbed, monkeypatch):
    path, written = write_job(tmp_path, [server]), []
    from anomaly_synthesis.batch import results
    from anomaly_synthesis.images import pictures

    def full(target, data, **options):
        written.append(target)
        if len(written) > 20:
            raise OSError(28, "cannot write (No space left on device)", str(target))
        real(target, data, **options)

    real = pictures.write_atomic
    for module in (pictures, results):
        monkeypatch.setattr(module, "write_atomic", full)
    with pytest.raises(OSError, match="No space left"):
        run(path)
    monkeypatch.undo()
    run(path)
    assert _whole(tmp_path, undisturbed)


def test_the_error_that_stopped_a_run_is_raised_also_where_no_report_can_be_written(server, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    server.fails = set(range(1000))
    monkeypatch.setattr(commands, "write_report", full)
    with pytest.raises(ValueError, match="20 items in a row"):
        commands.run_batch(write_job(tmp_path, [server], count=1000, limits={"tries": 1}), lambda _: None, timing=FAST)


def test_clean_stop_takes_prompts_back_and_resume_ends_the_job(server, tmp_path, undisturbed):
    server.delay = 0.1
    path = write_job(tmp_path, [server])

    async def stop(runner):
        await asyncio.sleep(0.35)
        runner.stop()

    counts = run(path, during=stop)
    assert 0 < counts["written"] < 12 and counts["sent"] == 0
    ran = len(server.ran)
    time.sleep(0.3)
    assert len(server.ran) == ran, "nothing of the job is left in the queue"
    run(path)
    assert _whole(tmp_path, undisturbed) and sorted(server.ran) == list(range(12))


@pytest.mark.slow
def test_killed_runners_and_servers_lose_nothing(server, other, tmp_path, undisturbed):
    """kill -9 of the real command, five times, with the servers killed and restarted in between."""
    server.delay = other.delay = 0.25
    path, action = write_job(tmp_path, [server, other]), "run"
    for turn in range(5):
        process = _command(action, path)
        deadline = time.monotonic() + 60
        while len(server.ran) + len(other.ran) < 2 * turn + 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        action = "resume"
        if turn % 2:
            (server, other)[turn // 2].restart()
    process = _command(action, path)
    assert process.wait(120) == 0, process.stderr.read()
    assert _whole(tmp_path, undisturbed)


@pytest.mark.slow
def test_ctrl_c_stops_the_command_cleanly(server, tmp_path, undisturbed):
    server.delay = 0.15
    path = write_job(tmp_path, [server])
    process = _command("run", path)
    while len(server.ran) < 2:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert "to do: `batch resume" in process.stdout.read()
    assert 2 <= len(read_manifest(tmp_path / "pairs")) < 12
    assert _command("resume", path).wait(60) == 0
    assert _whole(tmp_path, undisturbed)


def _command(action, path):
    # Not the repository's root on sys.path: its `datasets` would shadow others.
    code = "import sys; from anomaly_synthesis import cli; sys.exit(cli.main(sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-P" if sys.version_info >= (3, 11) else "-s", "-c", code, "batch", action, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_status_cancel_export_and_report(server, tmp_path):
    server.fails = {1}
    path = write_job(tmp_path, [server], count=4, limits={"tries": 1})
    with refused(subject="pairs.batch$", got="not started", remedy="start it with `batch "):
        commands.status(path)
    words = commands.run_batch(path, lambda _: None, timing=FAST)
    assert "3 of 4 pairs" in words and "1 set aside" in words
    with refused(subject="pairs.batch$", got="started before", remedy="batch resume"):
        commands.run_batch(path, lambda _: None, timing=FAST)
    text = commands.status(path)
    assert "not running" in text and "item 1 was set aside: node 1 (MakePair): ValueError: bad" in text
    assert json.loads(commands.status(path, as_json=True))["counts"]["written"] == 3
    page = (tmp_path / "pairs.batch" / "report.html").read_text()
    assert "3 of 4 pairs" in page and "ValueError: bad" in page and "<script" not in page
    assert "4 items" in commands.export(path, tmp_path / "items.csv")
    rows = (tmp_path / "items.csv").read_text().splitlines()
    assert len(rows) == 5 and rows[0].startswith("item,state,object") and "plate/test/scratch/000000.png" in rows[1]
    with refused(subject="items.txt$", accepted=r"\.csv or .jsonl"):
        commands.export(path, tmp_path / "items.txt")


def test_the_report_shows_what_a_server_says_as_text(server, tmp_path, monkeypatch):
    ended = simulated_server._failed
    wild = ValueError("<script>é\x1b[2J & \u202e")
    monkeypatch.setattr(simulated_server, "_failed", lambda _: ended(wild))
    server.fails = {1}
    commands.run_batch(write_job(tmp_path, [server], count=4, limits={"tries": 1}), lambda _: None, timing=FAST)
    page = (tmp_path / "pairs.batch" / "report.html").read_text(encoding="utf-8")
    assert "ValueError: &lt;script&gt;é\\x1b[2J &amp; \\u202e</td>" in page and "<h2>Failures</h2>\n<table><tr>" in page


def test_cancel_stops_the_runner_or_clears_the_servers(server, tmp_path):
    server.delay = 0.2
    path = write_job(tmp_path, [server])

    async def cancel(_):
        await asyncio.sleep(0.3)
        assert "asked to stop" in await asyncio.to_thread(commands.cancel, path)

    assert 0 < run(path, during=cancel)["written"] < 12
    process = _command("resume", path)
    ran = len(server.ran)
    while len(server.ran) < ran + 1:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert "items wait again" in commands.cancel(path)
    ran = len(server.ran)
    time.sleep(0.5)
    assert len(server.ran) <= ran + 1, "the running one is stopped, the others never start"


def test_headers_of_the_environment_go_to_the_servers_and_into_no_file(server, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("ANOMALY_SYNTHESIS_HEADERS", "Authorization: Bearer hidden-word\nX-Team: a")
    server.fails = {1}
    path = write_job(tmp_path, [server], count=3, limits={"tries": 1})
    words = commands.run_batch(path, lambda _: None, timing=FAST)
    assert all(headers.get("Authorization") == "Bearer hidden-word" for headers in server.headers)
    output = words + caplog.text + commands.status(path)
    assert "hidden-word" not in output
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"hidden-word" not in file.read_bytes(), file
    monkeypatch.setenv("ANOMALY_SYNTHESIS_HEADERS", "hidden-word")
    with pytest.raises(ValueError, match="line 1: accepted is 'Name: value'") as refusal:
        run(path)
    assert "hidden-word" not in str(refusal.value)


def test_a_clock_that_jumps_changes_nothing(server, tmp_path, undisturbed, monkeypatch):
    server.delay = 0.02
    hours = iter(range(0, 10**9, 3600))
    monkeypatch.setattr(time, "time", lambda: 1e9 + next(hours) * (-1) ** next(hours))
    run(write_job(tmp_path, [server]))
    assert _whole(tmp_path, undisturbed)
