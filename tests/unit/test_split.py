import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from anomaly_synthesis.datasets.mvtec import Sample
from anomaly_synthesis.datasets.split import check_leak, load_split, make_split, part_of, save_split


def sample(name, root="r"):
    part, kind, _ = name.split("/")
    return Sample("tile", kind, part, name, Path(root), None if kind == "good" else Path("mask.png"))


def mixed():
    """60 groups of 1 to 5 images of three types and of normals, as on real parts."""
    draw = random.Random(7)
    groups = {}
    for number in range(60):
        kinds = draw.sample(["crack", "hole", "uneven"], draw.choice([0, 1, 1, 1, 2]))
        places = [f"test/{kind}" for kind in kinds] + draw.sample(["train/good", "test/good"], draw.choice([0, 1, 2]))
        for place in places or ["train/good"]:
            for copy in range(draw.randint(1, 3)):
                groups[f"{place}/{number:02}_{copy}.png"] = f"g{number:02}"
    return [sample(name) for name in groups], groups


def share_by_type(split, samples):
    train = set(split.train)
    for kind in ("crack", "hole", "uneven"):
        names = [one.name for one in samples if one.type == kind]
        yield sum(name in train for name in names) / len(names)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("share", [0.2, 1 / 3, 0.5])
def test_every_type_gets_its_share_and_no_group_is_crossed(seed, share):
    samples, groups = mixed()
    split = make_split(samples, groups, seed, share)
    check_leak(split)
    assert sorted(split.train + split.held_back + split.dropped) == sorted(groups)
    assert all(abs(found - share) < 0.06 for found in share_by_type(split, samples))
    assert all("/good/" in name for name in split.dropped)
    held = {groups[name] for name in split.held_back}
    for name in split.dropped:
        assert (groups[name] in held) == name.startswith("train/")


def test_the_order_of_files_and_the_folder_do_not_matter():
    samples, groups = mixed()
    split = make_split(samples, groups, 3)
    moved = [replace(one, root=Path("/elsewhere")) for one in samples[::-1]]
    assert make_split(moved, dict(reversed(groups.items())), 3) == split
    assert make_split(samples, groups, 4).train != split.train
    assert make_split(samples, groups, 4).digest == split.digest
    assert make_split(samples[1:], groups, 3).digest != split.digest


def test_a_type_keeps_a_training_group_however_large():
    names = {f"test/crack/{i}.png": "a" if i < 9 else "b" for i in range(10)} | {"test/hole/0.png": "a"}
    names |= {f"test/hole/{i}.png": "c" for i in range(1, 9)}
    for seed in range(5):
        split = make_split([sample(name) for name in names], names, seed, share=0.01)
        for kind in ("crack", "hole"):
            assert any(kind in name for name in split.train) and any(kind in name for name in split.held_back)


def test_a_type_with_one_group_trains_with_a_warning(caplog):
    names = {"test/crack/0.png": "a", "test/crack/1.png": "a", "test/hole/0.png": "b", "test/hole/1.png": "c"}
    split = make_split([sample(name) for name in names], names)
    assert {"test/crack/0.png", "test/crack/1.png"} <= set(split.train)
    assert "all crack images of tile are in one group" in caplog.text and "hole" not in caplog.text


def test_normals_follow_their_group():
    names = {"test/crack/0.png": "a", "test/crack/1.png": "b", "test/crack/2.png": "c"}
    for group in "abc":
        names |= {f"train/good/{group}.png": group, f"test/good/{group}.png": group}
    names |= {"train/good/alone.png": "d", "test/good/alone.png": "e"}
    split = make_split([sample(name) for name in names], names)
    (train,) = {names[name] for name in split.train if "crack" in name}
    held = set("abc") - {train}
    assert set(split.train) - {f"test/crack/{'abc'.index(train)}.png"} == {
        f"train/good/{train}.png", "train/good/alone.png"
    }
    assert {name for name in split.held_back if "good" in name} == {
        *(f"test/good/{group}.png" for group in held), "test/good/alone.png"
    }
    assert set(split.dropped) == {f"test/good/{train}.png", *(f"train/good/{group}.png" for group in held)}


def test_groups_of_normals_alone_are_dealt_whole_in_proportion():
    names = {f"train/good/{i:03}.png": f"g{i % 40}" for i in range(120)}
    names |= {f"test/good/{i:03}.png": f"g{i}" for i in range(40)}
    splits = [make_split([sample(name) for name in names], names, seed) for seed in range(3)]
    assert all(len(split.train) == 120 and len(split.held_back) == 40 and not split.dropped for split in splits)
    assert len({split.train for split in splits}) == 3
    check_leak(splits[0])


def test_leak_check_fails_on_a_crossed_group():
    samples, groups = mixed()
    split = make_split(samples, groups)
    leaky = replace(split, groups={**split.groups, split.train[0]: split.groups[split.held_back[0]]})
    with pytest.raises(ValueError, match="1 groups stand in train and in held_back: " + leaky.groups[split.train[0]]):
        check_leak(leaky)
    with pytest.raises(ValueError, match="stand in train and in held_back"):
        part_of(leaky, samples, "train")
    twice = replace(split, train=(*split.train, split.held_back[0]))
    with pytest.raises(ValueError, match="stand in train and in held_back"):
        check_leak(twice)


def test_file_round_trip_and_tampering(tmp_path):
    split = make_split(*mixed())
    path = tmp_path / "split.json"
    save_split(split, path)
    assert load_split(path) == split
    stored = json.loads(path.read_text())
    assert stored["format"] == "anomaly_synthesis.split" and stored["version"] == 1 and "\n" in path.read_text()
    for change, message in [
        ({"version": 2}, "'version': 2"), ({"train": []}, "altered"), ({"digest": "0"}, "altered"),
    ]:
        path.write_text(json.dumps({**stored, **change}))
        with pytest.raises(ValueError, match=message):
            load_split(path)
    path.write_text(json.dumps({key: value for key, value in stored.items() if key != "groups"}))
    with pytest.raises(ValueError, match="no groups"):
        load_split(path)
    path.write_text("[]")
    with pytest.raises(ValueError, match="make the split again"):
        load_split(path)
    path.write_text("{")
    with pytest.raises(ValueError, match="not a JSON file"):
        load_split(path)


def test_part_of_takes_part_of_the_data_but_no_other_data():
    samples, groups = mixed()
    split = make_split(samples, groups)
    assert {one.name for one in part_of(split, samples, "held_back")} == set(split.held_back)
    cracks = [one for one in samples if one.type == "crack"]
    assert [one.name for one in part_of(split, cracks, "train")] == [o.name for o in cracks if o.name in split.train]
    other = [*samples[2:], sample("test/crack/new.png")]
    with pytest.raises(ValueError, match="other data; 1 of .* are not in it: test/crack/new.png; 2 of its"):
        part_of(split, other, "train")
    with pytest.raises(ValueError, match="'train' or 'held_back'"):
        part_of(split, samples, "test")


def test_bad_input():
    samples, groups = mixed()
    with pytest.raises(ValueError, match="share 1"):
        make_split(samples, groups, share=1)
    with pytest.raises(ValueError, match="no images"):
        make_split([], {})
    with pytest.raises(ValueError, match="have no group"):
        make_split(samples, {})
