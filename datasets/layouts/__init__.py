"""The layouts that datasets are read from, one file for each family."""

from .coco import COCO
from .labelme import LABELME
from .mask_folders import INDEX, STEMS
from .mvtec import BTAD, LOCO, MVTEC
from .visa import VISA

LAYOUTS = (MVTEC, LOCO, BTAD, VISA, COCO, LABELME, STEMS, INDEX)
