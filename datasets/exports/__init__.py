"""Formats that a folder of pairs is exported to, one a file; `export.export_pairs` writes any of them.

A format is made with the folder, {(object, type): class} in order, an ExitStack for files that it keeps open, and its
own options. It has `options` ({name: values, the default first}), `pair(pair, mask)` -> what the pair's line of the
manifest says of it, `normal(path, stem, size)` -> path in the export, and `finish()`.
"""

from .coco import Coco
from .plain import Plain
from .yolo import Yolo

FORMATS = {"coco": Coco, "yolo": Yolo, "plain": Plain}
