"""COCO and LabelMe as tools write them: ids as numbers or text, labels that mean normal, single shapes that are bad."""

import base64
import io
import json
import math

import pytest
from anomaly_synthesis.datasets.layouts.normal_words import means_normal, no_defect
from anomaly_synthesis.datasets.reading import find_dataset, read_dataset
from anomaly_synthesis.datasets.sample import check_samples, read_sample
from PIL import Image

from .refusals import refused

BOX = [4, 3, 9, 3, 9, 6, 4, 6]  # 15 pixels
CORNERS = [[4, 3], [8, 3], [8, 5], [4, 5]]  # 15 pixels, the corners' own included
WAYS = {"number": int, "float": float, "text": str, "float as text": "{}.0".format, "padded": " {} ".format}


@pytest.fixture
def coco(put, tmp_path):
    """coco(annotations, categories, images, ids) lays out images 0.png .. 3.png with an annotation file."""

    def lay_out(annotations, categories=None, images=None, names="0123"):
        for name in names:
            put(f"part/{name}.png")
        if images is None:
            images = [{"id": n, "file_name": f"{name}.png", "height": 12, "width": 16} for n, name in enumerate(names)]
        categories = [{"id": 1, "name": "crack"}, {"id": 2, "name": "OK"}] if categories is None else categories
        content = {"images": images, "annotations": annotations, "categories": categories}
        (tmp_path / "part" / "a.json").write_text(json.dumps(content))
        return tmp_path / "part"

    return lay_out


def on(image, category=1, segmentation=(BOX,), **more):
    return {"id": 7, "image_id": image, "category_id": category, "segmentation": list(segmentation), **more}


def kinds(samples):
    return [(one.type, one.name) for one in samples]


def areas(samples):
    return [int(read_sample(sample)[1].sum()) for sample in samples if sample.mask is not None]


@pytest.mark.parametrize("listed", WAYS)
@pytest.mark.parametrize("given", WAYS)
def test_an_id_is_the_same_however_it_is_written(coco, listed, given):
    there, here = WAYS[listed], WAYS[given]
    images = [{"id": there(n), "file_name": f"{n}.png", "height": there(12), "width": there(16)} for n in range(4)]
    annotations = [on(here(n), here(1), id=here(n)) for n in (0, 3)]
    root = coco(annotations, [{"id": there(1), "name": "crack"}], images)
    samples = read_dataset(root)
    assert kinds(samples) == [("crack", "0.png"), ("good", "1.png"), ("good", "2.png"), ("crack", "3.png")]
    assert samples[0].mask.size == (12, 16) and areas(samples) == [15, 15]


def test_ids_that_are_words_compare_as_text(coco):
    images = [{"id": f"img-{n}", "file_name": f"{n}.png"} for n in range(2)]
    root = coco([on("img-1 ", "a")], [{"id": "a", "name": "crack"}], images)
    assert kinds(read_dataset(root)) == [("good", "0.png"), ("crack", "1.png")]


@pytest.mark.parametrize("bad", [None, True, math.nan, math.inf, 0.5, "", "nan", [1], {"a": 1}])
def test_what_is_no_id_is_refused_by_name(coco, bad):
    images = [{"id": n, "file_name": f"{n}.png"} for n in range(4)]
    root = coco([on(0)], images=[*images[:3], {"id": bad, "file_name": "3.png"}])
    with refused(got=r"a.json: image '3.png' has the id .*, which is none; give it a whole number"):
        read_dataset(root)
    root = coco([on(0), on(bad)])
    with refused(got="a.json: annotation 7 has the image_id .*, which is none"):
        read_dataset(root)
    root = coco([on(0), on(1, bad)])
    with refused(got="a.json: annotation 7 has category .*, which 'categories' does not name"):
        read_dataset(root)
    root = coco([on(0)], [{"id": 1, "name": "crack"}, {"id": bad, "name": "hole"}])
    with refused(got="a.json: category 'hole' has the id .*, which is none"):
        read_dataset(root)


def test_ids_that_become_equal_are_refused_where_they_name_two(coco):
    images = [{"id": "1", "file_name": "0.png"}, {"id": 1.0, "file_name": "1.png"}]
    with refused(got="the id 1 of image '1.png' stands there twice and is also that of '0.png'"):
        read_dataset(coco([on(1)], images=images))
    categories = [{"id": 1, "name": "crack"}, {"id": "1", "name": "hole"}]
    with refused(got="the id 1 of category 'hole' stands there twice and is also that of 'crack'"):
        read_dataset(coco([on(1)], categories))
    root = coco([on(1)], [{"id": 1, "name": "crack"}] * 2)
    assert kinds(read_dataset(root))[1] == ("crack", "1.png")
    (problem,) = find_dataset(root).problems
    assert not problem.unusable and problem.what == "the id 1 of category 'crack' stands there twice"


def test_segmentations_of_text_flat_lists_and_float_runs_are_read(coco):
    runs = {"size": [12.0, "16"], "counts": ["0", 12.0, 180]}
    text = [str(value) for value in BOX]
    root = coco([on(0, segmentation=[text]), on(1, segmentation=BOX), on(2) | {"segmentation": runs}])
    assert areas(read_dataset(root)) == [15, 15, 12]


def test_a_size_that_is_none_is_reported_and_not_compared(coco):
    images = [{"id": 0, "file_name": "0.png", "height": math.nan, "width": True}, {"id": 1, "file_name": "1.png"}]
    root = coco([on(0), on(1)], images=images, names="01")
    assert areas(read_dataset(root)) == [15, 15]
    (problem,) = find_dataset(root).problems
    assert "'0.png' has height nan and width True, which are no size" in problem.what and not problem.unusable


BAD = {
    "two points": [[1, 2, 3, 4]],
    "no polygon": [],
    "an empty polygon": [[]],
    "null": None,
    "a point of words": [[1, 2, 3, 4, 5, "x"]],
    "NaN": [[1, 2, 3, 4, 5, math.nan]],
    "far away": [[1, 2, 3, 4, 5, 1e9]],
    "beside the image": [[40, 3, 49, 3, 49, 6, 40, 6]],
    "runs of another size": {"size": [16, 12], "counts": [0, 12, 180]},
    "runs that do not fill": {"size": [12, 16], "counts": [9]},
    "runs of nothing": {"size": [12, 16], "counts": [192]},
    "runs without counts": {"size": [12, 16]},
    "text": "[[1, 2, 3, 4, 5, 6]]",
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_shape_of_coco_leaves_out_its_image_alone(coco, bad):
    root = coco([on(0), on(1) | {"id": 8, "segmentation": bad}, on(1), on(2)])
    assert kinds(read_dataset(root)) == [("crack", "0.png"), ("crack", "2.png"), ("good", "3.png")]
    (problem,) = find_dataset(root).problems
    assert problem.file == "a.json" and not problem.unusable
    assert problem.what.startswith("annotation 8 on 1.png cannot be used: ") and "left out" in problem.what


def test_a_set_of_boxes_alone_is_refused(coco):
    root = coco([on(n) | {"segmentation": []} for n in range(3)])
    with refused(got="3 problems.*\n.*annotation 7 on 0.png cannot be used: it has no"):
        read_dataset(root)


NORMAL_WORDS = ["good", "OK", " normal ", "Background", "_background_", "no defect", "No-Defect", "defect_free"]


@pytest.mark.parametrize("word", NORMAL_WORDS)
def test_a_category_that_means_normal_is_no_defect_and_makes_no_image_normal(coco, word):
    categories = [{"id": 1, "name": "crack"}, {"id": 2, "name": word}]
    root = coco([on(0), on(0, 2), on(1, 2), on(2, 2, segmentation=[])], categories)
    samples = read_dataset(root)
    assert kinds(samples) == [("crack", "0.png"), ("good", "1.png"), ("good", "2.png"), ("good", "3.png")]
    (problem,) = find_dataset(root).problems
    assert problem.what == f"3 annotations are of {word.strip()!r}, which is no defect; left out"


@pytest.mark.parametrize(
    "word",
    [
        "OK.",
        "Normal (OK)",
        "good/ok",
        "GOOD_PART",
        "normal area",
        "no anomaly",
        "anomaly-free",
        "bg",
        "Gutteile",
        "i.O.",
        "Kein Fehler",
        "sans défaut",
        "sans de\u0301faut",
        "Sin Defectos",
        "normale",
        "sem defeito",
        "正常",
        "良品",
        "欠陥なし",
        "정상",
        "без дефектов",
    ],
)
def test_words_that_mean_normal_in_other_spellings_and_languages(word):
    assert means_normal(word)


def test_words_for_defects_are_not_normal():
    assert not any(map(means_normal, ["crack", "not good", "bad", "ko", "void", "defect", "goods damage", "ng", ""]))
    words = ["not ok", "n.i.O.", "nicht in Ordnung", "non conforme", "no good", "parts", "image", "--", "ok crack"]
    assert not means_normal("不良")
    assert not any(map(means_normal, words))


def test_a_name_in_another_case_or_unicode_form_is_found(coco, put, tmp_path):
    images = [{"id": 0, "file_name": "GRO\u0308SSE.PNG"}, {"id": 1, "file_name": "0.png"}]
    put("part/gr\u00f6\u00dfe.png")
    assert kinds(read_dataset(coco([on(0)], images=images, names="0"))) == [("good", "0.png"), ("crack", "größe.png")]


@pytest.fixture
def labelme(put, tmp_path):
    """labelme({image: shapes or None}) writes the images and, where shapes are given, their files."""

    def lay_out(shapes, root="part", **changes):
        for name, own in shapes.items():
            path = put(f"{root}/{name}.png")
            content = {"shapes": own, "imagePath": path.name, "imageHeight": 12, "imageWidth": 16}
            if own is not None:
                path.with_suffix(".json").write_text(json.dumps(content | changes))
        return tmp_path / root

    return lay_out


def shape(label, points=CORNERS, kind="polygon"):
    return {"label": label, "points": points, "shape_type": kind}


@pytest.mark.parametrize("word", NORMAL_WORDS)
def test_a_label_that_means_normal_is_no_defect_and_makes_no_image_normal(labelme, word):
    root = labelme({"a": [shape(word), shape("crack")], "b": [shape(word, [], "line")], "c": [], "d": None})
    samples = read_dataset(root)
    assert kinds(samples) == [("crack", "a.png"), ("good", "b.png"), ("good", "c.png"), ("good", "d.png")]
    assert areas(samples) == [15]
    (problem,) = find_dataset(root).problems
    assert problem.what == f"2 annotations are of {word.strip()!r}, which is no defect; left out"


@pytest.mark.parametrize(
    "bad",
    [
        shape("crack", CORNERS[:2]),
        shape("crack", []),
        shape("crack", CORNERS, "spline"),
        shape(None),
        None,
        shape("crack", [[math.nan, 1]] * 3),
        shape("crack", None),
        {"label": "crack"},
        shape("crack", [[40, 3], [49, 3], [49, 6]]),
    ],
)
def test_a_bad_shape_of_labelme_leaves_out_its_image_alone(labelme, bad):
    root = labelme({"a": [shape("crack")], "b": [shape("crack"), bad], "c": [shape("hole")], "d": None})
    assert kinds(read_dataset(root)) == [("crack", "a.png"), ("hole", "c.png"), ("good", "d.png")]
    (problem,) = find_dataset(root).problems
    assert problem.file == "b.json" and problem.what.startswith("shape 2 cannot be used: ") and not problem.unusable


def test_labelmes_numbers_may_be_text(labelme):
    points = [[str(x), f"{y}.0"] for x, y in CORNERS]
    root = labelme({"a": [shape("crack", points)]}, imageHeight="12", imageWidth=16.0)
    samples = read_dataset(root)
    assert areas(samples) == [15] and samples[0].mask.size == (12, 16)


def test_an_image_whose_file_holds_no_shapes_of_it_is_not_normal(labelme, put):
    root = labelme({"a": [shape("crack")], "b": None, "c": None})
    (root / "b.json").write_text('{"label": "crack"}')
    put("part/a.jpg")
    assert kinds(read_dataset(root, layout="labelme")) == [("crack", "a.png"), ("good", "c.png")]
    assert [(one.file, one.what.split(",")[0]) for one in find_dataset(root, "labelme").problems] == [
        ("a.json", "it has no shapes of a.jpg"),
        ("b.json", "it has no shapes of b.png"),
    ]


def test_labelme_folders_beside_normal_images_are_one_object(labelme, put, tmp_path):
    labelme({"0": [shape("crack")], "1": [shape("crack")]}, "part/crack")
    labelme({"0": [shape("dent")]}, "part/dent")
    for number in range(3):
        put(f"part/good/{number}.png")
    for root, lead in ((tmp_path, "part/"), (tmp_path / "part", "")):
        samples = read_dataset(root)
        assert {one.object for one in samples} == {"part"}
        assert kinds(samples) == [
            ("crack", f"{lead}crack/0.png"),
            ("crack", f"{lead}crack/1.png"),
            ("dent", f"{lead}dent/0.png"),
            *(("good", f"{lead}good/{number}.png") for number in range(3)),
        ]
        check_samples(samples)
    put("part/crack/2.png")
    labelme({"3": [shape("good")]}, "part/crack")
    with refused(got="2 defect images have no ground truth: crack/2.png, crack/3.png"):
        read_dataset(tmp_path / "part")


def test_void_is_a_defect_like_any_other_but_in_pascals_lists():
    assert not no_defect("void") and no_defect("unlabeled")


def test_a_rectangle_of_four_corners_that_is_turned_is_drawn_turned(labelme):
    corners = [[4, 2], [7, 5], [4, 8], [1, 5]]
    root = labelme(
        {
            "0": [shape("crack", corners, "rectangle")],
            "1": [shape("crack", [[4, 3], [8, 3], [8, 5], [4, 5]], "rectangle")],
        }
    )
    assert areas(read_dataset(root)) == [25, 15]  # |x - 4| + |y - 5| <= 3, and 5 x 3


def test_an_empty_bitmap_leaves_its_image_out(labelme):
    buffer = io.BytesIO()
    Image.new("1", (3, 3)).save(buffer, "PNG")
    empty = base64.b64encode(buffer.getvalue()).decode()
    bitmap = shape("crack", [[4, 3], [6, 5]], "mask") | {"mask": empty}
    root = labelme({"0": [shape("crack")], "1": [bitmap]})
    assert ("crack", "0.png") in kinds(read_dataset(root)) and "1.png" not in [one.name for one in read_dataset(root)]
    assert find_dataset(root).problems[0].what == (
        "shape 1 cannot be used: its bitmap marks no pixel; its image is left out"
    )
