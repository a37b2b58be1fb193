"""A small example of every layout, drawn as it is published, with the samples that it holds."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (12, 16)
SQUARE = (slice(3, 6), slice(4, 9))
OTHER = (slice(8, 11), slice(1, 3))


@dataclass
class Example:
    """root: where it lies; samples: {(object, type, part, image's name below root): its mask, None for normal}."""

    root: Path
    samples: dict = field(default_factory=dict)

    def write(self, name, data):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def save(self, name, values, mode=None, palette=None):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.asarray(values, np.uint8), mode)
        if palette:
            image.putpalette(palette)
        image.save(path)
        return path

    def picture(self, name, size=SIZE):
        """A noise picture of its own."""
        return self.save(name, np.random.default_rng(list(name.encode())).integers(60, 140, size))

    def mask(self, name, *areas, value=255, size=SIZE):
        values = np.zeros(size, np.uint8)
        for area in areas:
            values[area] = value
        self.save(name, values)
        return values != 0

    def normal(self, object, part, name, size=SIZE):
        self.picture(name, size)
        self.samples[object, "good", part, name] = None

    def defect(self, object, type, part, name, mask=None, area=SQUARE, value=255, size=SIZE):
        """A defect image; with `mask` its mask file is written too."""
        if not (self.root / name).exists():
            self.picture(name, size)
        truth = np.zeros(size, bool)
        truth[area] = True
        if mask:
            self.mask(mask, area, value=value, size=size)
        self.samples[object, type, part, name] = truth


def mvtec(one):
    one.normal("tile", "train", "tile/train/good/000.png")
    one.normal("tile", "test", "tile/test/good/000.png")
    one.defect("tile", "crack", "test", "tile/test/crack/000.png", "tile/ground_truth/crack/000_mask.png")


def loco(one):
    one.normal("box", "train", "box/train/good/000.png")
    one.normal("box", "train", "box/validation/good/000.png")
    one.defect(
        "box",
        "logical_anomalies",
        "test",
        "box/test/logical_anomalies/000.png",
        "box/ground_truth/logical_anomalies/000/000.png",
    )


def btad(one):
    one.normal("01", "train", "01/train/ok/0000.bmp")
    one.defect("01", "damaged", "test", "01/test/ko/0001.bmp", "01/ground_truth/ko/0001.png")


def visa(one):
    """As downloaded: split_csv beside the objects, each with its image_anno.csv."""
    images, masks = "candle/Data/Images", "candle/Data/Masks/Anomaly"
    one.normal("candle", "train", f"{images}/Normal/0000.JPG")
    one.defect("candle", "melt", "test", f"{images}/Anomaly/000.JPG", f"{masks}/000.png", value=1)
    one.defect("candle", "wax missing", "test", f"{images}/Anomaly/001.JPG", f"{masks}/001.png", OTHER, value=2)
    one.defect("candle", "melt", "test", f"{images}/Anomaly/002.JPG", area=OTHER)
    one.defect("candle", "wax missing", "test", f"{images}/Anomaly/002.JPG")
    both = np.zeros(SIZE, np.uint8)
    both[OTHER], both[SQUARE] = 1, 2
    one.save(f"{masks}/002.png", both)
    rows = "".join(f"candle,test,anomaly,{images}/Anomaly/00{n}.JPG,{masks}/00{n}.png\r\n" for n in range(3))
    head = f"candle,train,normal,{images}/Normal/0000.JPG,\r\n"
    one.write("split_csv/1cls.csv", f"object,split,label,image,mask\r\n{head}{rows}")
    types = ("melt", "wax missing", '"wax missing,melt"')
    rows = "".join(f"{images}/Anomaly/00{n}.JPG,{type},{masks}/00{n}.png\n" for n, type in enumerate(types))
    one.write("candle/image_anno.csv", f"image,label,mask\n{images}/Normal/0000.JPG,normal,\n{rows}")


def coco(one):
    one.normal("cast", "train", "cast/images/n.png")
    one.defect("cast", "crack", "train", "cast/images/d.png")
    one.write(
        "cast/annotations/instances_train.json",
        json.dumps(
            {
                "images": [
                    {"id": n, "file_name": f"{name}.png", "height": 12, "width": 16} for n, name in enumerate("nd")
                ],
                "annotations": [
                    {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[4, 3, 9, 3, 9, 6, 4, 6]], "iscrowd": 0}
                ],
                "categories": [{"id": 1, "name": "crack"}],
            }
        ),
    )


def labelme(one):
    one.normal("cast", "", "cast/n.png")
    one.defect("cast", "crack", "", "cast/d.png")
    shape = {"label": "crack", "points": [[4, 3], [8, 5]], "shape_type": "rectangle"}
    content = {"shapes": [shape], "imagePath": "d.png", "imageHeight": 12, "imageWidth": 16}
    one.write("cast/d.json", json.dumps(content))


def stems(one):
    one.normal("part", "", "part/images/n.png")
    one.defect("part", "damaged", "", "part/images/d.png", "part/masks/d.png")


def index(one):
    one.normal("part", "", "part/images/n.png")
    one.defect("part", "crack", "", "part/images/d.png", "part/masks/d.png", value=1)
    one.write("part/classes.txt", "crack\nhole\n")


def yolo(one):
    """Ultralytics' own, with a class that means normal."""
    one.normal("cast", "train", "cast/images/train/empty.png")
    one.normal("cast", "train", "cast/images/train/none.png")
    one.normal("cast", "train", "cast/images/val/ok.png")
    one.defect("cast", "hole", "train", "cast/images/train/d.png")
    one.defect("cast", "crack", "test", "cast/images/test/deep/e.png", area=OTHER)
    one.write("cast/labels/train/empty.txt", "")
    one.write("cast/labels/train/d.txt", "1 0.25 0.25 0.5625 0.25 0.5625 0.5 0.25 0.5\n")
    one.write("cast/labels/val/ok.txt", "2 0.25 0.25 0.5625 0.25 0.5625 0.5\n")
    x, y = (1 / 16, 3 / 16), (8 / 12, 11 / 12)
    corners = " ".join(f"{x[right]:.6f} {y[down]:.6f}" for right, down in ((0, 0), (1, 0), (1, 1), (0, 1)))
    one.write("cast/labels/test/deep/e.txt", f"0 {corners}\n")
    one.write(
        "cast/data.yaml",
        "# a set\npath: ../datasets/cast  # elsewhere\ntrain: images/train\nval: images/val\n"
        "test: images/test\n\nnames:\n  0: crack\n  1: 'hole'\n  2: OK\n",
    )


def folder(one):
    one.normal("nut", "", "nut/good/000.jpg")
    one.defect("nut", "crack", "", "nut/crack/000.png", "nut/mask/crack/000.png")
    one.defect("nut", "colour", "", "nut/colour/000.png", "nut/mask/colour/000.png", OTHER)


def voc(one):
    """CVAT's "Segmentation mask 1.1" with images."""
    one.normal("cast", "train", "cast/JPEGImages/n.png")
    one.defect("cast", "hole", "test", "cast/JPEGImages/d.png")
    one.defect("cast", "crack", "test", "cast/JPEGImages/d.png", area=OTHER)
    values = np.zeros((*SIZE, 3), np.uint8)
    one.save("cast/SegmentationClass/n.png", values)
    values[SQUARE], values[OTHER], values[0, 0] = (250, 50, 83), (61, 61, 245), (224, 224, 192)
    one.save("cast/SegmentationClass/d.png", values)
    one.save("cast/SegmentationObject/d.png", values)
    one.write(
        "cast/labelmap.txt",
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncrack:61,61,245::\nhole:250,50,83:a,b:c\n",
    )
    one.write("cast/ImageSets/Segmentation/train.txt", "n\n")
    one.write("cast/ImageSets/Segmentation/test.txt", "d\n")


def roboflow(one):
    for part, kind in (("train", "train"), ("valid", "train"), ("test", "test")):
        one.normal("cast", kind, f"cast/{part}/n_jpg.rf.{part}.jpg")
        one.mask(f"cast/{part}/n_jpg.rf.{part}_mask.png")
        one.defect(
            "cast", "hole", kind, f"cast/{part}/d_jpg.rf.{part}.jpg", f"cast/{part}/d_jpg.rf.{part}_mask.png", value=2
        )
        one.write(f"cast/{part}/_classes.csv", "Pixel Value, Class\n0, background\n1, crack\n2, hole\n")


def mvtec_ad2(one):
    one.normal("can", "train", "can/train/good/000_regular.png")
    one.normal("can", "train", "can/validation/good/001_regular.png")
    one.normal("can", "test", "can/test_public/good/002_regular.png")
    one.defect(
        "can",
        "bad",
        "test",
        "can/test_public/bad/003_regular.png",
        "can/test_public/ground_truth/bad/003_regular_mask.png",
    )
    for name in ("test_private/004_regular.png", "test_private_mixed/005_shift_1.png"):
        one.picture(f"can/{name}")


def mvtec_3d(one):
    for part, kind in (("train/good", "train"), ("validation/good", "train"), ("test/good", "test")):
        one.normal("bagel", kind, f"bagel/{part}/rgb/000.png")
        one.mask(f"bagel/{part}/gt/000.png")
        one.picture(f"bagel/{part}/xyz/000.tiff")
    one.defect("bagel", "crack", "test", "bagel/test/crack/rgb/001.png", "bagel/test/crack/gt/001.png", value=1)
    one.picture("bagel/test/crack/xyz/001.tiff")


def dagm(one):
    for part, kind in (("Train", "train"), ("Test", "test")):
        one.normal("Class1", kind, f"Class1/{part}/0001.PNG")
        one.defect("Class1", "damaged", kind, f"Class1/{part}/0002.PNG", f"Class1/{part}/Label/0002_label.PNG")
        lines = ("1", "0001\t0\t0001.PNG\t0\t0", "0002\t1\t0002.PNG\t1\t0002_label.PNG", "")
        one.write(f"Class1/{part}/Label/Labels.txt", "\n".join(lines))


def severstal(one):
    size = (256, 1600)
    one.normal("steel", "", "steel/train_images/n.jpg", size)
    one.defect("steel", "class 3", "", "steel/train_images/d.jpg", area=(slice(9, 12), slice(0, 2)), size=size)
    one.defect("steel", "class 1", "", "steel/train_images/d.jpg", area=(slice(254, 256), 1599), size=size)
    one.write("steel/train.csv", "ImageId,ClassId,EncodedPixels\nd.jpg,3,10 3 266 3\nd.jpg,1,409599 2\n")


def real_iad(one):
    base, name = "realiad_1024/audiojack", "audiojack_0001"
    one.normal("audiojack", "train", f"{base}/OK/S0001/{name}_OK_C1.jpg")
    one.normal("audiojack", "test", f"{base}/NG/AK/S0001/{name}_NG_AK_C2.jpg")
    one.defect(
        "audiojack", "AK", "test", f"{base}/NG/AK/S0001/{name}_NG_AK_C1.jpg", f"{base}/NG/AK/S0001/{name}_NG_AK_C1.png"
    )

    def entry(type, path, mask=None):
        return {"category": "audiojack", "anomaly_class": type, "image_path": path, "mask_path": mask}

    ng = f"NG/AK/S0001/{name}_NG_AK"
    one.write(
        "realiad_jsons/realiad_jsons/audiojack.json",
        json.dumps(
            {
                "meta": {"pre_transform": None, "normal_class": "OK", "prefix": "audiojack/"},
                "train": [entry("OK", f"OK/S0001/{name}_OK_C1.jpg")],
                "test": [entry("OK", f"{ng}_C2.jpg"), entry("AK", f"{ng}_C1.jpg", f"{ng}_C1.png")],
            }
        ),
    )


def magnetic_tile(one):
    one.normal("tiles", "", "tiles/MT_Free/Imgs/exp1_num_1.jpg")
    one.mask("tiles/MT_Free/Imgs/exp1_num_1.png")
    for type, area in (("Blowhole", SQUARE), ("Crack", OTHER)):
        images = f"tiles/MT_{type}/Imgs/exp1_num_2"
        one.defect("tiles", type, "", f"{images}.jpg", f"{images}.png", area)


def kolektor(one):
    for number in (1, 2):
        for part in (0, 1):
            image = f"electric/kos0{number}/Part{part}"
            if part:
                one.defect("electric", "damaged", "", f"{image}.jpg", f"{image}_label.bmp")
            else:
                one.normal("electric", "", f"{image}.jpg")
                one.mask(f"{image}_label.bmp")


def kolektor2(one):
    for part in ("train", "test"):
        one.normal("surface", part, f"surface/{part}/10000.png")
        one.mask(f"surface/{part}/10000_GT.png")
        one.defect("surface", "damaged", part, f"surface/{part}/10001.png", f"surface/{part}/10001_GT.png")


EXAMPLES = {
    build.__name__: build
    for build in (
        mvtec,
        loco,
        btad,
        visa,
        coco,
        labelme,
        stems,
        index,
        yolo,
        folder,
        voc,
        roboflow,
        mvtec_ad2,
        mvtec_3d,
        dagm,
        severstal,
        real_iad,
        magnetic_tile,
        kolektor,
        kolektor2,
    )
}
