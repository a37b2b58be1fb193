"""The former place of `images.pictures` and `images.mask_files`: scripts of users import it, this package does not."""

from ..images.mask_files import read_mask
from ..images.pictures import read_picture, write_picture

__all__ = ["read_mask", "read_picture", "write_picture"]
