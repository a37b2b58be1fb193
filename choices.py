"""The names that a setting may have, for the command line and the nodes. Nothing is imported here.

Where a name selects code, its room keeps the table from name to code; tests/unit/test_choices.py compares the two.
The order is that of the menus and of the help.
"""

# samplers/
PRESETS = ("recommended", "fast", "paper")
KINDS = ("quadratic", "uniform", "lambda", "half")
FOREGROUND_MODES = ("x0_blend", "renoise")
STAGES = ("baseline", "mga", "mga-aif", "mga-aif-gd", "mga-aif-ema", "stage", "stage-paper")
SHAPES = ("linear", "cosine")
BLENDS = ("x0", "paper")

# modules/ and training/
ADAPTERS = ("fast", "stage")
NORMS = ("group", "batch")
HEADS = {"paper": (64, 256, 512, 256, 64), "small": (32, 64, 128, 64, 32)}  # channels of an MGA head's layers
PRECISIONS = ("auto", "fp32", "bf16")
CHECKPOINTING = ("auto", "on", "off")

# datasets/
LAYOUTS = (
    "mvtec",
    "loco",
    "btad",
    "visa",
    "coco",
    "labelme",
    "stems",
    "index",
    "yolo",
    "folder",
    "voc",
    "roboflow",
    "mvtec_ad2",
    "mvtec_3d",
    "dagm",
    "severstal",
    "real_iad",
    "magnetic_tile",
    "kolektor",
    "kolektor2",
)
PARTS = ("train", "held_back")
FORMATS = ("coco", "yolo", "plain")
SEGMENTATIONS = ("rle", "polygon")

DEFECTS = (
    "scratch",
    "scuff",
    "pit",
    "hole",
    "dent",
    "crack",
    "cut",
    "chip",
    "stain",
    "discoloration",
    "corrosion",
    "contamination",
    "fibre",
    "burr",
    "bubble",
    "missing",
    "burn",
)

# masks of pairs, in exports and in evaluation/
LABELS = ("refined", "requested")

# synthesis/
MODES = ("difference", "paste")
POLICIES = ("keep", "drop", "refine")
SCORES = ("visibility", "strength", "excess", "completeness", "precision", "boundary", "seam", "nearest_real")

# baselines/ and evaluation/
VARIANTS = ("patch", "scar")
AUGMENTATIONS = ("standard", "light")
NETWORKS = ("unet", "small_unet", "segformer", "bisenetv2", "stdc1")
METHODS = (
    "real-only",
    "cutpaste",
    "cutpaste-scar",
    "draem",
    "copy-paste",
    "drawn",
    "aias",
    "paste-and-redraw",
    "aias-unaware",
    "fast",
    "fast-no-farm",
    "stage",
    "fast-and-stage",
)
