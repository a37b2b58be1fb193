"""The layouts that datasets are read from, one file for each family."""

from .anomalib import FOLDER
from .coco import COCO
from .dagm import DAGM
from .kolektor import KOLEKTOR, KOLEKTOR2
from .labelme import LABELME
from .magnetic_tile import MAGNETIC_TILE
from .mask_folders import INDEX, STEMS
from .mvtec import BTAD, LOCO, MVTEC
from .mvtec_3d import MVTEC_3D
from .mvtec_ad2 import MVTEC_AD2
from .real_iad import REAL_IAD
from .roboflow import ROBOFLOW
from .severstal import SEVERSTAL
from .visa import VISA
from .voc import VOC
from .yolo import YOLO

LAYOUTS = (
    MVTEC,
    LOCO,
    BTAD,
    VISA,
    COCO,
    LABELME,
    STEMS,
    INDEX,
    YOLO,
    FOLDER,
    VOC,
    ROBOFLOW,
    MVTEC_AD2,
    MVTEC_3D,
    DAGM,
    SEVERSTAL,
    REAL_IAD,
    MAGNETIC_TILE,
    KOLEKTOR,
    KOLEKTOR2,
)
