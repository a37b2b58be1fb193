import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from anomaly_synthesis.datasets.mvtec import Sample
from anomaly_synthesis.datasets.split import check_leak, load_split, make_split, part_of, save_split

from .refusals import refused


def sample(name, root, content=None):
    part, kind, _ = name.split("/")
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content or name)
    return Sample("tile", kind, part, name, root, None if kind == "good" else Path("mask.png"))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """60 groups of 1 to 5 images of three types and of normals, as on real parts."""
    draw, root = random.Random(7), tmp_path_factory.mktemp("mixed")
    groups = {}
    for number in range(60):
        kinds = draw.sample(["crack", "hole", "uneven"], draw.choice([0, 1, 1, 1, 2]))
        places = [f"test/{kind}" for kind in kinds] + draw.sample(["train/good", "test/good"], draw.choice([0, 1, 2]))
        for place in places or ["train/good"]:
            for copy in range(draw.randint(1, 3)):
                groups[f"{place}/{number:02}_{copy}.png"] = f"g{number:02}"
    return [sample(name, root) for name in groups], groups


def share_by_type(split, samples):
    train = set(split.train)
    for kind in ("crack", "hole", "uneven"):
        names = [one.name for one in samples if one.type == kind]
        yield sum(name in train for name in names) / len(names)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("share", [0.2, 1 / 3, 0.5])
def test_every_type_gets_its_share_and_no_group_is_crossed(mixed, seed, share):
    samples, groups = mixed
    split = make_split(samples, groups, seed, share)
    check_leak(split)
    assert sorted(split.train + split.held_back + split.dropped) == sorted(groups)
    assert all(abs(found - share) < 0.06 for found in share_by_type(split, samples))
    assert all("/good/" in name for name in split.dropped)
    held = {groups[name] for name in split.held_back}
    for name in split.dropped:
        assert (groups[name] in held) == name.startswith("train/")


def test_the_order_of_files_and_the_folder_do_not_matter(mixed, tmp_path):
    samples, groups = mixed
    split = make_split(samples, groups, 3)
    shutil.copytree(samples[0].root, tmp_path / "elsewhere")
    moved = [replace(one, root=tmp_path / "elsewhere") for one in samples[::-1]]
    assert make_split(moved, dict(reversed(groups.items())), 3) == split
    assert part_of(split, moved[::-1], "train") == [one for one in moved[::-1] if one.name in split.train]


def test_different_splits_have_different_digests(mixed):
    samples, groups = mixed
    split = make_split(samples, groups, 3)
    assert make_split(samples, groups, 4).train != split.train
    others = [make_split(samples, groups, 4), make_split(samples[1:], groups, 3)]
    others.append(make_split(samples, {name: f"x{group}" for name, group in groups.items()}, 3))
    assert len({one.digest for one in (split, *others)}) == 4


def test_marks_see_size_beginning_and_end_of_a_file(tmp_path):
    image = sample("train/good/000.png", tmp_path)
    contents = ["a" * 200_000, "a" * 200_001, "b" + "a" * 199_999, "a" * 199_999 + "b", "a"]
    for content in contents:
        image.image.write_text(content)
        split = make_split([image], {image.name: "g"})
        for other in contents:
            image.image.write_text(other)
            if other == content:
                assert part_of(split, [image], "train") == [image]
            else:
                with refused(got="other data"):
                    part_of(split, [image], "train")
    image.image.unlink()
    with pytest.raises(FileNotFoundError, match="000.png"):
        make_split([image], {image.name: "g"})


def test_a_type_keeps_a_training_group_however_large(tmp_path):
    names = {f"test/crack/{i}.png": "a" if i < 9 else "b" for i in range(10)} | {"test/hole/0.png": "a"}
    names |= {f"test/hole/{i}.png": "c" for i in range(1, 9)}
    for seed in range(5):
        split = make_split([sample(name, tmp_path) for name in names], names, seed, share=0.01)
        for kind in ("crack", "hole"):
            assert any(kind in name for name in split.train) and any(kind in name for name in split.held_back)


def test_a_type_with_one_group_trains_with_a_warning(tmp_path, caplog):
    names = {"test/crack/0.png": "a", "test/crack/1.png": "a", "test/hole/0.png": "b", "test/hole/1.png": "c"}
    split = make_split([sample(name, tmp_path) for name in names], names)
    assert {"test/crack/0.png", "test/crack/1.png"} <= set(split.train)
    warning = "all crack images of tile are in one group; they train and none is held back"
    assert [record.getMessage() for record in caplog.records] == [warning]
    noted = []
    make_split([sample(name, tmp_path) for name in names], names, note=noted.append)
    assert noted == [warning] and len(caplog.records) == 1


def test_normals_follow_their_group(tmp_path):
    names = {"test/crack/0.png": "a", "test/crack/1.png": "b", "test/crack/2.png": "c"}
    for group in "abc":
        names |= {f"train/good/{group}.png": group, f"test/good/{group}.png": group}
    names |= {"train/good/alone.png": "d", "test/good/alone.png": "e"}
    split = make_split([sample(name, tmp_path) for name in names], names)
    (train,) = {names[name] for name in split.train if "crack" in name}
    held = set("abc") - {train}
    assert set(split.train) - {f"test/crack/{'abc'.index(train)}.png"} == {
        f"train/good/{train}.png",
        "train/good/alone.png",
    }
    assert {name for name in split.held_back if "good" in name} == {
        *(f"test/good/{group}.png" for group in held),
        "test/good/alone.png",
    }
    assert set(split.dropped) == {f"test/good/{train}.png", *(f"train/good/{group}.png" for group in held)}


def test_groups_with_only_normal_images_are_split_whole_in_proportion(tmp_path):
    names = {f"train/good/{i:03}.png": f"g{i % 40}" for i in range(120)}
    names |= {f"test/good/{i:03}.png": f"g{i}" for i in range(40)}
    samples = [sample(name, tmp_path) for name in names]
    splits = [make_split(samples, names, seed) for seed in range(3)]
    assert all(len(split.train) == 120 and len(split.held_back) == 40 and not split.dropped for split in splits)
    assert len({split.train for split in splits}) == 3
    check_leak(splits[0])


def test_leak_check_fails_on_a_crossed_group(mixed):
    samples, groups = mixed
    split = make_split(samples, groups)
    leaky = replace(split, groups={**split.groups, split.train[0]: split.groups[split.held_back[0]]})
    with refused(got="1 groups stand in train and in held_back: " + leaky.groups[split.train[0]]):
        check_leak(leaky)
    with refused(got="stand in train and in held_back"):
        part_of(leaky, samples, "train")
    twice = replace(split, train=(*split.train, split.held_back[0]))
    with refused(got="stand in train and in held_back"):
        check_leak(twice)


def test_file_round_trip_and_tampering(mixed, tmp_path):
    split = make_split(*mixed)
    path = tmp_path / "split.json"
    save_split(split, path)
    assert load_split(path) == split
    stored = json.loads(path.read_text())
    assert stored["format"] == "anomaly_synthesis.split" and stored["version"] == 1 and "\n" in path.read_text()
    moved = {"train": sorted([*split.train, split.held_back[0]]), "held_back": list(split.held_back[1:])}
    altered = [
        moved,
        {"train": []},
        {"digest": "0"},
        {"groups": {}},
        {"marks": None},
        {"marks": {**split.marks, "x": "0-0"}},
    ]
    for change, message in [({"version": 2}, "'version': 2"), *((change, "altered") for change in altered)]:
        path.write_text(json.dumps({**stored, **change}))
        with refused(got=message):
            load_split(path)
    path.write_text(json.dumps({key: value for key, value in stored.items() if key != "groups"}))
    with refused(got="no groups"):
        load_split(path)
    path.write_text("[]")
    with refused(remedy="make the split again"):
        load_split(path)
    path.write_text("{")
    with refused(got="not a JSON file"):
        load_split(path)


def test_another_split_is_not_overwritten(mixed, tmp_path):
    path = tmp_path / "split.json"
    save_split(make_split(*mixed), path)
    before = path.read_bytes()
    save_split(make_split(*mixed), path)
    with refused(subject="split.json$", got="it exists and holds another split", remedy="choose another file"):
        save_split(make_split(*mixed, seed=1), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    (tmp_path / "notes").write_text("not a split")
    with refused(subject="notes"):
        save_split(make_split(*mixed), tmp_path / "notes")


def test_other_data_with_equal_names_is_refused(tmp_path):
    names = [f"train/good/{i:03}.png" for i in range(5)] + ["test/crack/000.png"]
    metal = [sample(name, tmp_path / "brushed_metal") for name in names]
    printed = [sample(name, tmp_path / "printed_pattern", "printed " + name) for name in names]
    split = make_split(metal, {name: name for name in names})
    assert part_of(split, metal, "train") == metal
    with refused(got="other data; 6 of 6 images .* content: test/crack/000.png, train/good/000"):
        part_of(split, printed, "train")
    with refused(got="other data; 1 of 3 images"):
        part_of(split, [*metal[:2], printed[2]], "held_back")


def test_part_of_takes_part_of_the_data_but_no_other_data(mixed, tmp_path):
    samples, groups = mixed
    split = make_split(samples, groups)
    assert {one.name for one in part_of(split, samples, "held_back")} == set(split.held_back)
    cracks = [one for one in samples if one.type == "crack"]
    assert [one.name for one in part_of(split, cracks, "train")] == [o.name for o in cracks if o.name in split.train]
    other = [*samples[2:], sample("test/crack/new.png", tmp_path)]
    with refused(got="other data; 1 of .* are not in it: test/crack/new.png; 2 of its"):
        part_of(split, other, "train")
    with refused(accepted="train or held_back"):
        part_of(split, samples, "test")


def test_bad_input(mixed):
    samples, groups = mixed
    with refused(subject="^share$", got="^1$", accepted="^above 0, below 1$"):
        make_split(samples, groups, share=1)
    with refused(got="no images"):
        make_split([], {})
    with refused(got="have no group"):
        make_split(samples, {})


def test_normal_images_without_a_part_go_where_their_group_goes(tmp_path):
    samples = []
    for number in range(40):
        kind = "crack" if number < 8 else "good"
        name = f"images/{number:02}.png"
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
        samples.append(Sample("tile", kind, "", name, tmp_path, Path("mask.png") if kind == "crack" else None))
    groups = {one.name: one.name if number < 30 else samples[number - 30].name for number, one in enumerate(samples)}
    split = make_split(samples, groups)
    check_leak(split)
    assert split.dropped == () and len(split.train) + len(split.held_back) == 40
    alone = {one.name for one in samples[8:30]}
    assert abs(len(alone & set(split.train)) / len(alone) - 0.75) < 0.05
    for number in range(30, 40):
        assert (samples[number].name in split.train) == (samples[number - 30].name in split.train)


def test_types_of_one_image_are_one_name(tmp_path):
    samples = []
    for number in range(9):
        name = f"test/{number}.png"
        (tmp_path / "test").mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
        types = ("crack", "hole")[: 1 + number % 2]
        samples += [Sample("tile", kind, "test", name, tmp_path, Path("mask.png")) for kind in types]
    split = make_split(samples, {one.name: one.name for one in samples})
    assert sorted([*split.train, *split.held_back]) == [f"test/{number}.png" for number in range(9)]
    for kind in ("crack", "hole"):
        assert {one.type for one in part_of(split, samples, "train")} >= {kind}
    save_split(split, tmp_path / "split.json")
    assert load_split(tmp_path / "split.json") == split
