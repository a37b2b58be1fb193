"""Job files: what they mean, and every kind of mistake in them, reported with line and key before anything runs."""

import json

import pytest

pytest.importorskip("aiohttp")

from anomaly_synthesis.batch import commands, results
from anomaly_synthesis.batch.job import Source, read_job
from anomaly_synthesis.batch.problems import Problems
from anomaly_synthesis.batch.yaml_file import YamlFile
from anomaly_synthesis.datasets.pairs import read_manifest
from anomaly_synthesis.images.pictures import read_picture
from PIL import Image

from .batch_jobs import FAST, run, write_job
from .refusals import refused
from .simulated_server import PROMPT, Simulated


@pytest.fixture
def server():
    with Simulated() as running:
        yield running


@pytest.mark.parametrize(
    ("text", "place", "got", "accepted"),
    [
        ("a: 1\nb: [1, 2\n", "job.yaml, line 3$", "not YAML", "^$"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "job.yaml, line 4, b.c$", "this key is there twice", "^$"),
        ("- 1\n- 2\n", "line 1$", ".1, 2.", "a mapping"),
        ("a: &x [1]\nb: *x\n", "line 2$", "not YAML .*aliases", "^$"),
        ("a: !!python/object/apply:os.system [echo]\n", "line 1$", "not YAML", "^$"),
        ("? [1]\n: 2\n", "line 1$", "a key must be one word", "^$"),
        ("[" * 3000, "job.yaml", "not YAML", "^$"),
        ("\x00", "job.yaml", "not YAML", "^$"),
        ("a: .nan\n", "line 1, a$", "^nan$", "^a finite number$"),
    ],
    ids=["open list", "key twice", "list", "alias", "python tag", "list as key", "deep", "zero byte", "not a number"],
)
def test_yaml_errors_have_their_line(tmp_path, text, place, got, accepted):
    (tmp_path / "job.yaml").write_text(text)
    with refused(subject=place, got=got, accepted=accepted):
        YamlFile(tmp_path / "job.yaml")


BAD = """\
workflow: workflow.json
out: 7
count: 0
seed: -1
colour: red
servers: [ftp://a, "http://me:secret@b:1", "http://c:1", "http://c:1/"]
kinds:
  - {object: bottle, type: [crack, 5]}
inputs:
  A: {seed: {sed: x}, size: [1], type: {kind: colour}, text: "{free}", other: {text: "a {colour}"}}
  B: 5
  C: {x: {choose: []}, y: {files: "{colour}/*.png"}, z: {item: true}}
results:
  image: {node: A, input: x}
  mask: {node: A}
  objekt: bottle
  object: a/b
  type: {seed: x}
record:
  index: 5
limits: {tries: 0, hours: 3}
cluster: {python: 3}
"""


def test_all_mistakes_are_reported_in_one_list_with_line_and_key(tmp_path):
    (tmp_path / "job.yaml").write_text(BAD)
    with pytest.raises(ValueError) as refused:
        read_job(tmp_path / "job.yaml")
    text = str(refused.value)
    for words in (
        "line 2, out: 7",
        "line 3, count: 0",
        "line 4, seed: -1",
        "line 5, colour: no such key",
        "line 6, servers.0: 'ftp://a'",
        "line 6, servers.1: no name or password",
        "line 6, servers.3: http://c:1/ is there twice",
        "line 8, kinds.0.type: ['crack', 5]",
        "line 10, inputs.A.seed: {'sed': 'x'}",
        "line 10, inputs.A.size: [1]",
        "line 10, inputs.A.type: no kind has colour",
        "line 10, inputs.A.other: no kind has colour",
        "line 11, inputs.B",
        "line 12, inputs.C.x: []",
        "line 12, inputs.C.y: no kind has colour",
        "line 12, inputs.C.z: {'item': True}",
        "line 14, results.image",
        "line 15, results.mask",
        "line 16, results.objekt: no such result",
        "line 13, results.normal: None",
        "line 17, results.object: object: 'a/b'",
        "line 18, results.type: {'seed': 'x'}",
        "line 20, record.index: the batch writes",
        "line 21, limits.tries: 0",
        "line 21, limits.hours: no such limit",
        "line 22, cluster.python: 3",
        "cluster.comfyui: missing",
    ):
        assert f"job.yaml, {words}" in text or words in text, f"{words}\n\n{text}"
    assert "secret" not in text and "free" not in text


def test_mistakes_are_listed_in_the_order_of_their_lines_whatever_the_folder_is_called(tmp_path):
    folder = tmp_path / "a, line 9"
    folder.mkdir()
    (folder / "job.yaml").write_text("\n" * 9 + "colour: red\ncount: 0\nworkflow: w\nout: 7\nservers: ['http://a']\n")
    with pytest.raises(Problems) as problems:
        read_job(folder / "job.yaml")
    assert problems.value.subject == str(folder / "job.yaml")
    lines = problems.value.got.splitlines()
    assert str(problems.value).splitlines() == lines and str(problems.value.at("batch")) == f"batch: {problems.value}"
    wanted = [
        "10, results.image: None; accepted is the title",  # missing: the file's own line
        "10, results.mask: None; accepted is the title",
        "10, results.normal: None; accepted is the title",
        "10, results.object: None; accepted is a plain value",
        "10, results.type: None; accepted is a plain value",
        "10, colour: no such key; accepted is cluster, count, ",
        "11, count: 0; accepted is a whole number from 1 on.",
        "13, out: 7; accepted is a path",
    ]
    starts = [f"{folder / 'job.yaml'}, line {words}" for words in wanted]
    assert len(lines) == len(wanted) and sorted(lines[:6]) == sorted(
        line for line in lines if ", line 10, " in line.removeprefix(str(folder))
    )
    assert all(any(line.startswith(start) for line in lines) for start in starts), lines
    assert lines[6].startswith(starts[6]) and lines[7].startswith(starts[7])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"visibility": 1.5}', 1.5),
        ('[{"contrast": 2, "visibility": -0.25, "seed": null}]', -0.25),
        ('{"a": [1, {"visibility": true}]}', True),
        ('{"visibility": null, "x": 3}', None),
        ('{"visibility": "7"}', 7),
        ('{"visibility": "two words, and more"}', "two words, and more"),
        ('{"visibility": [1], "then": {"visibility": 4}}', 4),
    ],
)
def test_a_field_is_read_from_the_json_that_a_node_shows(text, value):
    assert results._read("score", Source("1", "scores", field="visibility"), text) == value


@pytest.mark.parametrize("text", ["Score(visibility=1.5)", "visibility: 1.5", '{"visible": 1}', "", "[" * 9000, "5"])
def test_a_text_without_the_field_is_a_failure_of_the_item(text):
    with pytest.raises(results.ItemFailed, match="^score: the output shows no JSON object with a plain visibility"):
        results._read("score", Source("1", "scores", field="visibility"), text)


def test_values_of_items(tmp_path, server):
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.png").write_bytes(b"x")
    path = write_job(
        tmp_path,
        [server],
        kinds=[{"object": "nut", "type": ["dent", "rust"]}],
        inputs={
            "Make Pair": {
                "fixed": 3,
                "kind": {"kind": "type"},
                "item": {"item": 5},
                "seed": {"seed": "s"},
                "twin": {"seed": "s"},
                "each": {"each": [1, 2]},
                "choose": {"choose": list(range(1000))},
                "text": {"text": "a {type} {free}"},
                "files": {"files_in_turn": "?.png"},
            }
        },
    )
    path.write_text(path.read_text().replace("{type} {free}", "{type}"))
    job = read_job(path)
    items = [{name: value for (_, name), value in job.values(job.plan.item(i)).items()} for i in range(24)]
    assert [item["kind"] for item in items[:3]] == ["dent", "rust", "dent"]
    assert [item["item"] for item in items] == list(range(5, 29))
    assert [item["each"] for item in items[:5]] == [1, 1, 2, 2, 1]
    assert [item["files"].name for item in items[:5]] == ["a.png", "a.png", "b.png", "b.png", "c.png"]
    assert items[1]["text"] == "a rust" and items[1]["seed"] == items[1]["twin"] == job.seed(job.plan.item(1))
    assert len({item["seed"] for item in items}) == 24 and len({item["choose"] for item in items}) > 20
    assert items == [{name: value for (_, name), value in job.values(job.plan.item(i)).items()} for i in range(24)]


def _problems(tmp_path, server, **changes) -> str:
    with pytest.raises(ValueError) as refused:
        commands.dry_run(write_job(tmp_path, [server], **changes), timing=FAST)
    return str(refused.value)


def test_everything_a_server_cannot_run_is_reported_in_one_list(tmp_path, server):
    prompt = json.loads(json.dumps(PROMPT))
    prompt["1"]["inputs"] |= {"model": "huge.safetensors", "size": "big"}
    del prompt["1"]["inputs"]["type"]
    prompt["3"] = {"class_type": "NoSuchNode", "inputs": {}}
    prompt["4"] = {"class_type": "SaveImage", "inputs": {"images": ["1", 1], "filename_prefix": "x"}}
    prompt["5"] = {"class_type": "SaveImage", "inputs": {"images": ["9", 0], "filename_prefix": "x"}}
    prompt["6"] = {"class_type": "SaveImage", "inputs": {"images": ["1", 7], "filename_prefix": "x"}}
    (tmp_path / "workflow.json").write_text(json.dumps(prompt))
    text = _problems(
        tmp_path,
        server,
        inputs={"Make Pair": {"seed": {"item": -5}, "sizes": 3}, "Nobody": {"x": 1}},
        results={
            "image": "Result",
            "mask": {"node": "1", "output": "musk"},
            "object": "plate",
            "type": "scratch",
            "normal": {"node": "Make Pair", "output": 3},
        },
    )
    for words in (
        "node 1 (Make Pair), model: the server has no 'huge.safetensors'; it has small.safetensors, large.safetensors",
        "node 1 (Make Pair), size: 'big' is no INT",
        "node 1 (Make Pair), type: missing",
        "node 3 (NoSuchNode): the server has no node NoSuchNode",
        "node 4 (Save Image), images: wants IMAGE, but",
        "node 5 (Save Image), images: connected to node 9",
        "node 6 (Save Image), images: connected to output 7",
        "inputs.Make Pair.seed: -5 is not in 0 ..",
        "inputs.Make Pair.sizes: Make Pair has no such input; did you mean",
        "inputs.Nobody: workflow: no node 'Nobody'; accepted is Make Pair (1), ",
        "results.mask: Make Pair: no output 'musk'; accepted is one of its outputs, image (IMAGE), ",
        "results.normal: Make Pair: output 3 is STRING; accepted is IMAGE or MASK",
    ):
        assert words in text, f"{words}\n\n{text}"
    assert not server.ran


def test_several_nodes_of_a_title_need_an_id(tmp_path, server):
    prompt = {**PROMPT, "7": PROMPT["1"]}
    (tmp_path / "workflow.json").write_text(json.dumps(prompt))
    assert "2 nodes are 'Make Pair': 1, 7; give the id" in _problems(tmp_path, server)


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("{", "not a workflow .JSON is expected"),
        ("[1]", "not a workflow$"),
        ("{}", "not a workflow$"),
        ('{"1": {"inputs": {}}}', "node 1 has no class_type"),
        ('{"1": 5}', "node 1 has no class_type"),
    ],
)
def test_files_that_are_no_workflow_are_refused(tmp_path, server, text, got):
    path = write_job(tmp_path, [server])
    (tmp_path / "workflow.json").write_text(text)
    with refused(subject="workflow.json$", got=got):
        run(path)


def test_dry_run_prints_the_plan_and_runs_nothing(tmp_path, server):
    server.fill(3)
    server.delay = 5
    path = write_job(tmp_path, [server], kinds=[{"type": ["a", "b"]}])
    text = commands.dry_run(path, timing=FAST)
    assert "24 items: 12 of each of 2 kinds" in text and "ComfyUI 0.33.0, 3 prompts in its queue" in text
    assert "item 23: Make Pair.seed = 23" in text and "time:" in text
    assert not (tmp_path / "pairs").exists() and not (tmp_path / "pairs.batch").exists()


def test_files_are_sent_and_kept_bit_for_bit_as_normals(tmp_path, server):
    (tmp_path / "goods").mkdir()
    for value in range(3):
        Image.new("RGB", (24, 24), (value, 7, 9)).save(tmp_path / "goods" / f"{value}.png")
    prompt = {**PROMPT, "8": {"class_type": "LoadImage", "inputs": {"image": "example.png"}}}
    (tmp_path / "workflow.json").write_text(json.dumps(prompt))
    results = {
        "image": "Result",
        "mask": {"node": "1", "output": "mask"},
        "object": "plate",
        "type": {"kind": "type"},
        "normal": {"node": "Load Image", "input": "image"},
    }
    path = write_job(
        tmp_path,
        [server],
        count=3,
        kinds=[{"type": ["scratch", "dent"]}],
        results=results,
        inputs={
            "Make Pair": {"seed": {"item": 0}, "type": {"kind": "type"}},
            "Load Image": {"image": {"files_in_turn": "goods/*.png"}},
        },
        record={"words": {"node": "1", "output": "words"}, "base": "b"},
    )
    run(path)
    assert len(server.uploads) == 3, "every file once"
    for record in read_manifest(tmp_path / "pairs"):
        value = record["item"] // 2
        source = tmp_path / "goods" / f"{value}.png"
        assert (tmp_path / "pairs" / record["normal"]).read_bytes() == source.read_bytes()
        assert (read_picture(tmp_path / "pairs" / record["normal"]).pixels == (value, 7, 9)).all()
        assert record["type"] == ["scratch", "dent"][record["item"] % 2] and record["base"] == "b"
        assert record["words"] == f"made {record['type']}" and record["settings"]["Load Image.image"] == f"{value}.png"


def test_files_that_do_not_match_are_reported(tmp_path, server):
    prompt = {**PROMPT, "8": {"class_type": "LoadImage", "inputs": {"image": "example.png"}}}
    (tmp_path / "workflow.json").write_text(json.dumps(prompt))
    text = _problems(
        tmp_path,
        server,
        kinds=[{"object": ["nut", "bolt"]}],
        inputs={"Load Image": {"image": {"files": "{object}/*.png"}}},
    )
    assert "inputs.Load Image.image: no file matches for nut" in text and "for bolt" in text
