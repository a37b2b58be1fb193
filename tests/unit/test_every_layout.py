"""Every layout that is read: it alone is detected, and its samples and masks are those that were drawn."""

import numpy as np
import pytest
from anomaly_synthesis.datasets.inspection import inspect_dataset
from anomaly_synthesis.datasets.layouts import LAYOUTS
from anomaly_synthesis.datasets.reading import find_dataset, read_dataset
from anomaly_synthesis.datasets.sample import check_samples, read_sample

from .layout_examples import EXAMPLES, SIZE, Example
from .refusals import refused


@pytest.fixture
def draw(tmp_path):
    """draw(layout) is that layout's example, drawn in a folder of its own."""

    def lay_out(layout):
        example = Example(tmp_path / "data")
        EXAMPLES[layout](example)
        return example

    return lay_out


def test_there_is_an_example_of_every_layout():
    assert list(EXAMPLES) == [layout.name for layout in LAYOUTS]


@pytest.mark.parametrize("layout", EXAMPLES)
def test_a_layout_is_detected_and_read_as_it_was_drawn(draw, layout):
    example = draw(layout)
    dataset = find_dataset(example.root)
    assert dataset.layout.name == layout
    assert not [problem for problem in dataset.problems if problem.unusable or " not read" in problem.what]
    samples = read_dataset(example.root)
    assert samples == read_dataset(example.root, layout=layout)
    assert sorted((one.object, one.type, one.part, one.name) for one in samples) == sorted(example.samples)
    for one in samples:
        _, mask = read_sample(one)
        truth = example.samples[one.object, one.type, one.part, one.name]
        assert (mask is None) == (truth is None) and (mask is None or np.array_equal(mask, truth)), one.name
    inspection = inspect_dataset(example.root)
    assert inspection.unusable == 0 and inspection.images == len({name for *_, name in example.samples})


@pytest.mark.parametrize("layout", [name for name in EXAMPLES if name not in ("visa", "real_iad")])
def test_one_objects_folder_is_the_same_layout(draw, layout):
    """VisA's table and Real-IAD's lists stand above the objects; a DAGM class is an object."""
    example = draw(layout)
    object = next(iter(example.samples))[0]
    dataset = find_dataset(example.root / object)
    assert dataset.layout.name == layout
    assert {sample.object for sample in dataset.samples} == {object} and len(dataset.samples) == len(example.samples)


@pytest.mark.parametrize("layout", EXAMPLES)
def test_no_other_layout_matches_an_example_unless_it_is_more_general(draw, layout):
    """A layout that matches another one's example must be one that yields to it, not vice versa."""
    example = draw(layout)
    own = next(one for one in LAYOUTS if one.name == layout)
    for place in (example.root, *(path for path in example.root.iterdir() if path.is_dir())):
        for other in LAYOUTS:
            if other != own and own.matches(place) and other.matches(place):
                assert other.yields_to(own) and not own.yields_to(other), other.name


def test_layouts_yield_to_layouts_that_exist():
    known = {one.name for one in LAYOUTS}
    assert all({*layout.over, *layout.under} <= known - {layout.name} for layout in LAYOUTS)


@pytest.mark.parametrize("layout", EXAMPLES)
def test_a_damaged_image_is_named(draw, layout):
    example = draw(layout)
    name = next(name for _, type, _, name in example.samples if type != "good")
    (example.root / name).write_bytes(b"no image")
    with refused(got="not a readable image"):
        check_samples(read_dataset(example.root))
    problems = [problem.file for problem in inspect_dataset(example.root).problems if problem.unusable]
    assert set(problems) == {name}


@pytest.mark.parametrize("layout", [name for name in EXAMPLES if name != "yolo"])
def test_an_image_of_another_size_than_its_mask_is_named(draw, layout):
    """YOLO's shares fit any size."""
    example = draw(layout)
    name = next(name for _, type, _, name in example.samples if type != "good")
    example.picture(name, (24, 16))
    with refused(got=r"24 x 16"):
        check_samples(read_dataset(example.root))


@pytest.mark.parametrize("layout", EXAMPLES)
def test_a_link_in_a_circle_and_a_hidden_file_change_nothing(draw, layout):
    example = draw(layout)
    before = read_dataset(example.root)
    for number, path in enumerate([example.root, *(path for path in example.root.rglob("*") if path.is_dir())]):
        (path / f"up{number}").symlink_to(path.parent)
        (path / ".DS_Store").write_bytes(b"\0")
        (path / "._000.png").write_bytes(b"\0")
    assert read_dataset(example.root) == before


@pytest.mark.parametrize("layout", EXAMPLES)
def test_nothing_of_a_pixels_size_is_kept(draw, layout):
    example = draw(layout)
    for sample in read_dataset(example.root):
        assert not any(isinstance(value, np.ndarray) for value in vars(sample).values())
        assert len(repr(sample)) < 4 * np.prod(SIZE) + 20 * len(str(example.root))
