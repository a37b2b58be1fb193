"""What nodes may read and write: ComfyUI's folders and those that the user listed, links resolved, and
no information about other paths."""

import importlib.util
import os
import sys
import types
from pathlib import Path

import pytest

MODULE = Path(__file__).parents[2] / "nodes" / "folders.py"
REMEDY = "give another"


@pytest.fixture
def host(tmp_path, monkeypatch):
    """(nodes.folders, the folder that holds a host's folders); beside it lies `outside`, which is none of the
    host's."""
    base = tmp_path / "host"
    for name in ("input", "output", "temp", "datasets", "user", "models/loras", "custom_nodes/pack"):
        (base / name).mkdir(parents=True)
    (tmp_path / "outside" / "secret").mkdir(parents=True)
    stub = types.SimpleNamespace(
        folder_names_and_paths={
            "loras": ([str(base / "models/loras")], set()),
            "datasets": ([str(base / "datasets")], set()),
            "custom_nodes": ([str(base / "custom_nodes")], set()),
        },
        models_dir=str(base / "models"),
        **{f"get_{name}_directory": lambda name=name: str(base / name) for name in ("input", "output", "temp", "user")},
    )
    monkeypatch.setitem(sys.modules, "folder_paths", stub)
    monkeypatch.delenv("ANOMALY_SYNTHESIS_FOLDERS", raising=False)
    spec = importlib.util.spec_from_file_location("anomaly_synthesis.nodes.folders", MODULE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, base


def refusal(function, *arguments):
    with pytest.raises(ValueError) as error:
        function(*arguments)
    return str(error.value)


def test_a_name_is_looked_up_below_input_then_output_then_datasets(host):
    folders, base = host
    for place in ("datasets", "output", "input"):
        (base / place / "bottle").mkdir()
        assert folders.readable_folder(" bottle ", REMEDY) == base / place / "bottle"
    (base / "output" / "pairs").mkdir()
    assert folders.readable_folder("pairs", REMEDY) == base / "output" / "pairs"
    assert folders.readable_folder("../temp", REMEDY) == base / "temp"
    for path in ("input/bottle", "temp", "models/loras", "datasets/bottle"):
        assert folders.readable_folder(str(base / path), REMEDY) == base / path
    (base / "input" / "split.json").write_text("{}")
    assert folders.readable_file("split.json", REMEDY) == base / "input" / "split.json"
    assert refusal(folders.readable_file, "bottle", REMEDY) == (
        f"{base / 'input' / 'bottle'}: no such file, and none below ComfyUI's output and datasets; {REMEDY}."
    )
    assert refusal(folders.readable_folder, str(base / "input" / "gone"), REMEDY).endswith(
        f"gone: no such folder; {REMEDY}."
    )


def test_what_lies_outside_and_what_is_not_there_get_one_answer(host):
    folders, base = host
    outside = base.parent / "outside"
    (base / "input" / "link").symlink_to(outside)
    (base / "input" / "loop").symlink_to(base / "input" / "loop")
    answers = {}
    for name in (
        str(outside),
        str(outside / "secret"),
        str(outside / "gone"),
        "/",
        "/etc",
        "../../outside",
        "../../gone",
        "link",
        "link/secret",
        "link/gone",
        "x/../../../outside",
        str(base / "user"),
        str(base),
        str(base / "custom_nodes" / "pack"),
        f"{base}/input/../..",
        "link/../../../outside",
    ):
        text = refusal(folders.readable_folder, name, REMEDY)
        assert text == refusal(folders.readable_file, name, REMEDY).replace("file: ", "folder: ", 1)
        answers[name] = text.replace(repr(name), "NAME")
        assert "secret" not in answers[name] and "ANOMALY_SYNTHESIS_FOLDERS" in text
    assert len(set(answers.values())) == 1
    for name in ("a\0b", "~/x", "C:\\data", "\\\\server\\share", "n" * 5000, "loop", "\ud800", "~"):
        text = refusal(folders.readable_folder, name, REMEDY)
        assert len(text) < 700 and text.encode()


def test_folders_that_the_user_listed_are_read(host, monkeypatch, caplog):
    folders, base = host
    outside = base.parent / "outside"
    (base / "input" / "link").symlink_to(outside)
    (base / "user" / "anomaly_synthesis_folders.txt").write_text(f"# mine\n\n {outside} \nnot/absolute\n", "utf-8-sig")
    assert folders.readable_folder(str(outside / "secret"), REMEDY) == outside / "secret"
    assert folders.readable_folder("link/secret", REMEDY) == base / "input" / "link" / "secret"
    assert "'not/absolute' is no absolute path" in caplog.text
    (base / "user" / "anomaly_synthesis_folders.txt").unlink()
    assert "is not below" in refusal(folders.readable_folder, str(outside), REMEDY)
    monkeypatch.setenv("ANOMALY_SYNTHESIS_FOLDERS", f"{base.parent / 'gone'}{os.pathsep}{outside}{os.pathsep}")
    assert folders.readable_folder(str(outside), REMEDY) == outside
    assert folders.may_read(outside / "x") and not folders.may_read(base.parent / "x")


def test_a_link_inside_a_dataset_that_leads_out_is_named_and_its_target_is_not(host):
    folders, base = host
    data, outside = base / "input" / "data", base.parent / "outside"
    (data / "good").mkdir(parents=True)
    (base / "output" / "shared").mkdir()
    (data / "shared").symlink_to(base / "output" / "shared")
    (data / "circle").symlink_to(data)
    assert folders.readable_tree("data", REMEDY) == data
    for place in (data / "good" / "0.png", base / "output" / "shared" / "0.png"):
        for target in (outside / "gone.png", outside / "secret"):
            place.symlink_to(target)
            text = refusal(folders.readable_tree, "data", REMEDY)
            assert "0.png: a link that leads out" in text and str(outside) not in text and "secret" not in text
            place.unlink()
    assert folders.readable_tree("data", REMEDY) == data


def test_nodes_write_below_output_alone(host, monkeypatch):
    folders, base = host
    outside = base.parent / "outside"
    monkeypatch.setenv("ANOMALY_SYNTHESIS_FOLDERS", str(outside))  # to read, not to write
    (base / "output" / "link").symlink_to(outside)
    assert folders.writable_folder("a/b") == base / "output" / "a" / "b"
    for name in (
        "",
        ".",
        "..",
        "../input/x",
        str(outside),
        "link",
        "link/x",
        "a/../../x",
        str(base / "outputs"),
        "a\0",
        "\ud800",
    ):
        assert "is not below" in refusal(folders.writable_folder, name)
    (base / "output" / "pairs").mkdir()
    folders.check_written(base / "output" / "pairs")
    (base / "output" / "pairs" / "images").symlink_to(outside)
    assert "pairs/images: a link" in refusal(folders.check_written, base / "output" / "pairs")


def test_the_menu_offers_what_may_be_read_by_the_name_that_is_looked_up(host, monkeypatch):
    folders, base = host
    mine = base.parent / "mine"
    own = [base / path for path in ("input/bottle", "output/pairs", "datasets/bottle", "input/.hidden")]
    for path in (*own, mine / "c"):
        path.mkdir(parents=True)
    (base / "input" / "link").symlink_to(base.parent / "outside")
    (base / "input" / "picture.png").write_bytes(b"")
    assert folders.choices() == ["bottle", "pairs"]
    monkeypatch.setenv("ANOMALY_SYNTHESIS_FOLDERS", str(mine))
    assert folders.choices() == sorted([str(mine), str(mine / "c"), "bottle", "pairs"])
    for name in folders.choices():
        assert folders.readable_folder(name, REMEDY).is_dir()
    for number in range(300):
        (base / "input" / f"d{number}").mkdir()
    assert len(folders.choices()) == 200
    assert folders.chosen("typed", folders.AS_TYPED) == "typed" and folders.chosen("typed", "pairs") == "pairs"
    assert folders.chosen("typed", None) is None
