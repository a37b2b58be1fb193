"""The former place of `images.pictures`, which scripts of users import."""

from ..images.mask_files import read_mask
from ..images.pictures import read_picture, write_picture

__all__ = ["read_mask", "read_picture", "write_picture"]
