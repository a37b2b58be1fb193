"""Whatever the answers for an item hold, it is tried again, set aside and named; the rest of the run continues."""

import asyncio
import gzip
import io
import itertools
import json
import subprocess
import sys
import zlib

import pytest

pytest.importorskip("aiohttp")

from aiohttp import web
from anomaly_synthesis.batch import commands
from anomaly_synthesis.batch.table import Table
from anomaly_synthesis.datasets.pairs import read_manifest
from PIL import Image

from .batch_jobs import FAST, run, write_job
from .simulated_server import OBJECT_INFO, PROMPT, Simulated


def _set(*keys_and_value):
    """A change of a history entry: sets the value at these keys."""
    *keys, last, value = keys_and_value

    def change(entry):
        inside = entry
        for key in keys:
            inside = inside[_first(inside)] if key is FIRST else inside[key]
        inside[_first(inside) if last is FIRST else last] = value
        return entry

    return change


FIRST = object()


def _first(inside):
    return 0 if isinstance(inside, list) else next(iter(inside))


def _deep(entry):
    return b'{"%s": ' % entry["prompt"][1].encode() + b"[" * 100_000 + b"]" * 100_000 + b"}"


def _long(entry):
    return json.dumps({entry["prompt"][1]: entry}).replace("1000", "9" * 5000).encode()


def _packed(entry):
    return web.Response(body=gzip.compress(json.dumps({entry["prompt"][1]: entry}).encode()))


# A change of a history entry, and the error of its item.
HISTORIES = {
    "no object": (lambda entry: 5, "is a number (5); accepted is an object"),
    "a list": (lambda entry: [entry], "is a list of 1; accepted is an object"),
    "no outputs": (_set("outputs", None), "['outputs'] is null; accepted is an object"),
    "outputs are a list": (_set("outputs", []), "['outputs'] is a list of 0; accepted is an object"),
    "an output is a number": (_set("outputs", FIRST, 7), "is a number (7); accepted is an object"),
    "images are an object": (_set("outputs", "2", "images", {}), "['outputs']['2']['images'] is an object of 0"),
    "an image is a number": (
        _set("outputs", "2", "images", 0, 5),
        "['outputs']['2']['images'][0] is a number (5); accepted is an object",
    ),
    "no name": (_set("outputs", "2", "images", 0, {}), "['images'][0]['filename'] is missing"),
    "a name of digits": (_set("outputs", "2", "images", 0, "filename", 10**400), "['filename'] is a number (1000"),
    "half a character": (_set("outputs", "2", "images", 0, "filename", "\ud800.png"), "lone surrogates"),
    "a folder is a list": (_set("outputs", "2", "images", 0, "subfolder", [1]), "['subfolder'] is a list of 1"),
    "a path": (_set("outputs", "2", "images", 0, "filename", "../../etc/passwd"), "does not have the file"),
    "a name of 255 bytes": (_set("outputs", "2", "images", 0, "filename", "ä" * 127 + "x"), "does not have the file"),
    "a name of a megabyte": (_set("outputs", "2", "images", 0, "filename", "x" * 2**20), "/view"),
    "status is a number": (_set("status", 7), "['status'] is a number (7); accepted is an object"),
    "messages are a number": (
        _set("status", {"status_str": "error", "messages": 5}),
        "['status']['messages'] is a number (5)",
    ),
    "deep": (_deep, "nested more than 200 levels deep"),
    "5000 digits": (_long, "/history"),
    "accepted is JSON": (lambda entry: b"<html>", "accepted is JSON"),
    "zero bytes": (lambda entry: b"", "accepted is JSON"),
    "half of UTF-8": (lambda entry: b'{"a": "\xff"}', "accepted is JSON"),
    "control characters": (
        _set(
            "status",
            {
                "status_str": "error",
                "messages": [
                    [
                        "execution_error",
                        {
                            "node_id": "1",
                            "node_type": "\x1b[31mred",
                            "exception_type": "A\u202eB",
                            "exception_message": "\n=forged\r\x9b \ud800",
                        },
                    ]
                ],
            },
        ),
        "node 1 (\\x1b[31mred): A\\u202eB: =forged\\r\\x9b \\ud800",
    ),
}
# Odd, but the pair is complete.
HARMLESS = {
    "times of 400 digits": _set(
        "status", "messages", [["execution_start", {"timestamp": 10**400}], ["execution_success", {"timestamp": 2}]]
    ),
    "not a number": _set("status", "messages", [["execution_start", {"timestamp": float("nan")}]]),
    "other nodes' outputs": _set("outputs", "77", {"images": [5], "gifs": None}),
    "no status": _set("status", None),
}


def _bomb(width, height):
    """A small PNG of a large picture."""

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


_SIZES = itertools.cycle([9, 8, 7])


async def _sizes(_):
    """White pictures of ever other sizes."""
    file, size = io.BytesIO(), next(_SIZES)
    Image.new("L", (size, size), 255).save(file, "PNG")
    return web.Response(body=file.getvalue())


def _answer(**how):
    async def answer(_):
        return web.Response(**how)

    return answer


async def _short(request):
    """Says that more comes than does."""
    answer = web.StreamResponse(headers={"Content-Length": "1000"})
    await answer.prepare(request)
    await answer.write(b"\x89PNG")
    request.transport.abort()
    return answer


async def _endless(request):
    answer = web.StreamResponse()
    await answer.prepare(request)
    while True:
        await answer.write(b"\x89PNG" + bytes(2**20))


async def _claims(request):
    answer = web.StreamResponse(headers={"Content-Length": str(2**40)})
    await answer.prepare(request)
    await answer.write(b"\x89PNG")
    await asyncio.sleep(30)
    return answer


async def _silent(request):
    await asyncio.sleep(30)


# The answer to a request for a picture, and the error of its item.
VIEWS = {
    "404": (_answer(status=404), "does not have the file"),
    "500": (_answer(status=500), "/view answers 500"),
    "503": (_answer(status=503), "/view answers 503"),
    "403": (_answer(status=403), "/view answers 403"),
    "redirect": (_answer(status=302, headers={"Location": "http://127.0.0.1:9/x"}), "into `servers`"),
    "short": (_short, "/view: "),
    "endless": (_endless, "/view answers more than 2 MB; limits.megabytes of the job allows more"),
    "claims a terabyte": (_claims, "/view answers more than 2 MB"),
    "text": (_answer(text="hello"), "not a readable image"),
    "nothing": (_answer(body=b""), "not a readable image"),
    "packed": (_answer(body=gzip.compress(b"x"), headers={"Content-Encoding": "gzip"}), "answers packed (gzip)"),
    "bomb": (_answer(body=_bomb(40_000, 40_000)), "too large"),
    "large": (
        _answer(body=_bomb(2000, 2000)),
        "takes 11 MB decoded; accepted is 8 MB at most, four times limits.megabytes",
    ),
    "16 bit colour": (_answer(body=_bomb(24, 24).replace(bytes([8, 2, 0, 0, 0]), bytes([16, 2, 0, 0, 0]))), "image"),
    "other size": (_sizes, "they must be the same"),
    "silent": (_silent, "no answer to /view"),
}


@pytest.fixture
def server():
    with Simulated() as running:
        yield running


def _errors(folder):
    table = Table(folder / "pairs.batch" / "items.sqlite")
    errors = {row.item: row.error for row in table.rows("set_aside")}
    table.close()
    return errors


def test_any_history_sets_its_item_aside_and_no_other(server, tmp_path):
    server.histories = {2 * number: change for number, (change, _) in enumerate(HISTORIES.values())}
    count = 2 * len(HISTORIES)
    timing = FAST.__class__(**{**FAST.__dict__, "poll": 0.05})
    counts = run(write_job(tmp_path, [server], count=count, limits={"tries": 1}), timing)
    errors = _errors(tmp_path)
    for number, (name, (_, words)) in enumerate(HISTORIES.items()):
        assert words in errors.get(2 * number, "was not set aside"), name
    assert counts["written"] == counts["set_aside"] == len(HISTORIES)
    assert [record["item"] for record in read_manifest(tmp_path / "pairs")] == list(range(1, count, 2))
    _resumes_hold(tmp_path, errors)


def test_harmless_oddities_of_a_history_change_nothing(server, tmp_path):
    server.histories = dict(enumerate(HARMLESS.values()))
    assert run(write_job(tmp_path, [server], count=len(HARMLESS)))["written"] == len(HARMLESS)
    assert [record["seconds"] for record in read_manifest(tmp_path / "pairs")] == [None, None, 2.5, None]


def test_any_picture_sets_its_item_aside_and_no_other(server, tmp_path):
    server.views = {2 * number: answer for number, (answer, _) in enumerate(VIEWS.values())}
    timing = FAST.__class__(**{**FAST.__dict__, "answer": 0.2})
    path = write_job(tmp_path, [server], count=2 * len(VIEWS), limits={"tries": 1, "megabytes": 2})
    counts = run(path, timing)
    errors = _errors(tmp_path)
    for number, (name, (_, words)) in enumerate(VIEWS.items()):
        assert words in errors.get(2 * number, "was not set aside"), name
    assert counts["written"] == counts["set_aside"] == len(VIEWS)
    _resumes_hold(tmp_path, errors)


def _resumes_hold(folder, errors):
    """Status, export, report and further resumes read the files and change nothing."""
    path = folder / "job.yaml"
    for _ in range(2):
        commands.run_batch(path, lambda _: None, resume=True, timing=FAST)
    assert _errors(folder) == errors
    text = commands.status(path)
    assert f"item 0 was set aside: {errors[0]}" in text
    assert not set(text) & {"\x1b", "\x9b", "\r", "\u202e"}
    assert {"item": 0, "error": errors[0]} in json.loads(commands.status(path, as_json=True))["set_aside"]
    commands.export(path, folder / "items.csv")
    assert (folder / "items.csv").read_text(encoding="utf-8").count("set_aside") == len(errors)


def test_an_item_is_tried_again_before_it_is_set_aside(server, tmp_path):
    asked = []

    async def once(request):
        asked.append(request.query["filename"])
        return web.Response(status=500) if len(asked) < 3 else web.Response(body=server._files[asked[-1]])

    server.views = {1: once}
    assert run(write_job(tmp_path, [server], count=3))["written"] == 3
    assert server.ran.count(1) == 3


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("\ud800", "accepted is a file name"),
        ("x" * 201, "at most 2"),
        ("ä" * 101, "at most 2"),
        ("a\x1b[2Jb", "control characters"),
        ("a\u202eb", "control characters"),
        ("a\nb", "control characters"),
        ("../x", "slash"),
        ("[" * 5000, "at most 2"),
        ("", "accepted is a file name"),
        ("good", "no type 'good'"),
    ],
)
def test_names_that_no_folder_can_have_set_their_item_aside(server, tmp_path, words, expected):
    server.histories = {1: _set("outputs", "anomaly-synthesis-type", {"text": [words]})}
    results = {
        "image": "Result",
        "mask": {"node": "1", "output": "mask"},
        "normal": {"node": "1", "output": "normal"},
        "object": "plate",
        "type": {"node": "1", "output": "words"},
    }
    counts = run(write_job(tmp_path, [server], count=3, results=results, limits={"tries": 1}))
    assert counts["written"] == 2 and expected in _errors(tmp_path)[1]


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("7" * 400, "7" * 400),
        ("NaN", "NaN"),
        ("[" * 50_000, "[" * 50_000),
        ("a\ud800", "a?"),
        ("1.5", 1.5),
        ("True", True),
        ("9" * 5000, "9" * 5000),
        (10**400, "1" + "0" * 400),
        (None, None),
    ],
)
def test_texts_of_the_manifest_can_be_read_again(server, tmp_path, words, kept):
    server.histories = {0: _set("outputs", "anomaly-synthesis-words", {"text": [words]})}
    path = write_job(tmp_path, [server], count=1, record={"words": {"node": "1", "output": "words"}})
    assert run(path)["written"] == 1
    assert read_manifest(tmp_path / "pairs")[0]["words"] == kept
    (tmp_path / "pairs" / read_manifest(tmp_path / "pairs")[0]["mask"]).unlink()
    assert run(path)["written"] == 1 and read_manifest(tmp_path / "pairs")[0]["words"] == kept


def test_an_item_whose_prompt_is_never_taken_or_always_lost_does_not_hold_up_the_rest(server, tmp_path):
    lost = {"item": 1}

    async def forget(runner):
        while True:
            for queue in (server._pending, list(server._history.values())):
                for entry in list(queue):
                    entry = entry if isinstance(entry, list) else entry["prompt"]
                    if entry[2]["1"]["inputs"]["seed"] == lost["item"]:
                        server._history.pop(entry[1], None)
                        if entry in server._pending:
                            server._pending.remove(entry)
            await asyncio.sleep(0)

    server.histories = {1: lambda entry: None}
    timing = FAST.__class__(**{**FAST.__dict__, "poll": 0.005, "poll_blind": 0.005, "tick": 0.01})
    assert run(write_job(tmp_path, [server], count=3), timing, during=forget) == {
        "waiting": 0,
        "sent": 0,
        "fetched": 0,
        "written": 2,
        "set_aside": 1,
    }
    assert "prompt" in _errors(tmp_path)[1] or "lost" in _errors(tmp_path)[1]


def _mutated(*keys_and_value):
    info = json.loads(json.dumps(OBJECT_INFO))
    return _set(*keys_and_value)(info)


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (_mutated("MakePair", 5), "/object_info: ['MakePair'] is a number (5); accepted is an object"),
        (_mutated("MakePair", "input", []), "['MakePair']['input'] is a list of 0; accepted is an object"),
        (_mutated("MakePair", "input", "required", 7), "['MakePair']['input']['required'] is a number (7)"),
        (_mutated("MakePair", "input", "required", "seed", 7), "['required']['seed'] is a number (7); accepted is a"),
        (_mutated("MakePair", "input", "required", "seed", []), "['required']['seed'][0] is missing"),
        (_mutated("MakePair", "input", "required", "seed", 0, {}), "['seed'][0] is an object of 0; accepted is a text"),
        (_mutated("MakePair", "output", 7), "['MakePair']['output'] is a number (7); accepted is a list"),
        (_mutated("MakePair", "output", 0, None), "['MakePair']['output'][0] is null; accepted is a text or a list"),
        (_mutated("MakePair", "output_name", "x"), "['MakePair']['output_name'] is a text ('x'); accepted is a list"),
        ([], "/object_info: the whole is a list of 0; accepted is an object"),
    ],
)
def test_definitions_of_another_form_are_errors_with_their_place(server, tmp_path, info, words):
    server.info = info
    timing = FAST.__class__(**{**FAST.__dict__, "start": 0.2})
    with pytest.raises(ValueError, match="no server can be used") as refused:
        run(write_job(tmp_path, [server], count=1), timing)
    assert words in str(refused.value)


def test_odd_definitions_of_nodes_that_are_not_used_do_not_matter(server, tmp_path):
    server.info = {**OBJECT_INFO, "Odd": 7, "Odder": {"input": 5}, "\ud800": None}
    assert run(write_job(tmp_path, [server], count=1))["written"] == 1


@pytest.mark.parametrize(
    ("workflow", "words"),
    [
        ({**PROMPT, "1": {"class_type": 5, "inputs": {}}}, "workflow.json: ['1']['class_type'] is a number (5)"),
        ({**PROMPT, "1": {"class_type": "MakePair", "inputs": []}}, "['1']['inputs'] is a list of 0; accepted is"),
        ({"nodes": [5], "links": []}, "workflow.json: .*graph: ['nodes'][0] is a number (5); accepted is an object"),
        ({"nodes": [{"id": [], "type": "a"}], "links": []}, "['nodes'][0]['id'] is a list of 0; accepted is a whole"),
        ({"nodes": [{"id": 1, "type": 5}], "links": []}, "['nodes'][0]['type'] is a number (5); accepted is a text"),
        ({"nodes": [], "links": [[1, {}, 0]]}, "['links'][0][1] is an object of 0; accepted is a whole number or a"),
        ({"nodes": [], "links": [{}]}, "['links'][0]['id'] is missing"),
        ({"nodes": [{"id": 1, "type": "a", "inputs": [{"link": []}]}], "links": []}, "['inputs'][0]['link'] is a list"),
        ({"nodes": [], "links": [], "definitions": {"subgraphs": 5}}, "['definitions']['subgraphs'] is a number (5)"),
    ],
)
def test_workflows_of_another_form_are_errors_with_their_place(server, tmp_path, workflow, words):
    path = write_job(tmp_path, [server])
    (tmp_path / "workflow.json").write_text(json.dumps(workflow))
    with pytest.raises(ValueError) as refused:
        run(path)
    assert all(part in str(refused.value) for part in words.split(".*")), str(refused.value)


def test_a_workflow_that_is_deep_long_or_no_file_is_refused(server, tmp_path):
    path = write_job(tmp_path, [server])
    for text, words in (
        ("[" * 300 + "]" * 300, "nested more than 200 levels"),
        ("9" * 5000, "JSON is expected: Exceeds the limit"),
        ("[" * 10**6, "nested more than"),
        ('{"1": {"inputs": NaN}}', "node 1"),
    ):
        (tmp_path / "workflow.json").write_text(text)
        with pytest.raises(ValueError, match=words):
            run(path)
    (tmp_path / "workflow.json").unlink()
    (tmp_path / "workflow.json").mkdir()
    with pytest.raises(ValueError, match="not a file"):
        run(path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"item": None}, "line 1: ['item'] is null; accepted is a whole number"),
        ({"item": [1]}, "['item'] is a list of 1"),
        ({"item": -1}, "accepted is an item's number"),
        ({"item": 10**400}, "accepted is an item's number"),
        ({"object": 5}, "line 1: ['object'] is a number (5)"),
    ],
)
def test_manifests_of_another_form_are_errors_with_their_place(server, tmp_path, line, words):
    path = write_job(tmp_path, [server], count=1)
    run(path)
    manifest = tmp_path / "pairs" / "manifest.jsonl"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **line}) + "\n")
    with pytest.raises(ValueError) as refused:
        commands.run_batch(path, lambda _: None, resume=True, timing=FAST)
    assert words in str(refused.value)


def test_cells_that_a_spreadsheet_would_run_are_texts(server, tmp_path):
    message = {"node_id": "1", "node_type": "=cmd", "exception_type": "+1+1", "exception_message": "x;=cmd|' /C c'!A0"}
    failed = {"status_str": "error", "messages": [["execution_error", message]]}
    server.histories = {0: _set("status", failed)}
    path = write_job(
        tmp_path,
        [server],
        count=2,
        limits={"tries": 1},
        results={
            "image": "Result",
            "mask": {"node": "1", "output": "mask"},
            "normal": {"node": "1", "output": "normal"},
            "object": "=SUM(A1)",
            "type": "@x",
        },
    )
    run(path)
    commands.export(path, tmp_path / "items.csv")
    text = (tmp_path / "items.csv").read_text()
    assert "'=SUM(A1),'@x," in text and "x;'=cmd" in text and ",2.5," in text
    commands.export(path, tmp_path / "items.jsonl")
    assert json.loads((tmp_path / "items.jsonl").read_text().splitlines()[1])["object"] == "=SUM(A1)"


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_an_endless_answer_does_not_fill_the_memory(server, tmp_path):
    """Eight endless pictures at a time, each sent in pieces of a megabyte."""
    server.views = dict.fromkeys(range(8), _endless)
    path = write_job(tmp_path, [server], count=8, limits={"tries": 1})
    code = (
        "import re, sys; from anomaly_synthesis import cli; code = cli.main(sys.argv[1:]);"
        "print('PEAK', re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-P" if sys.version_info >= (3, 11) else "-s", "-c", code, "batch", path],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and "8 set aside" in done.stdout, done.stderr
    assert int(done.stdout.split("PEAK")[1]) < 700_000, "kB; Python and torch alone take 300,000"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"count": 2**40}, "count: 1099511627776 of each of 1 kinds; accepted is at most 10000000 items"),
        ({"kinds": [{name: [str(at) for at in range(1000)] for name in "abc"}]}, "kinds: 1000000000 kinds; accepted"),
        ({"limits": {"megabytes": 0}}, "limits.megabytes: 0; accepted is a number from 1 on"),
    ],
)
def test_plans_that_no_disk_holds_are_refused(server, tmp_path, changes, words):
    with pytest.raises(ValueError) as refused:
        commands.dry_run(write_job(tmp_path, [server], **changes))
    assert words in str(refused.value)


def test_job_values_that_cannot_be_stored_are_named(tmp_path):
    for text, words in (
        ('a: "\\ud800"', "line 1, a: .*halves"),
        ('a: "x\\0y"', "line 1, a: .*zero bytes"),
        ('"\\ud800": 1', "line 1: .*halves"),
        ("a: " + "9" * 5000, "line 1, a: 999"),
    ):
        (tmp_path / "job.yaml").write_text(text)
        with pytest.raises(ValueError, match=words):
            commands.dry_run(tmp_path / "job.yaml")
