"""The former place of `images.masks`, which scripts of users import."""

from ..images.masks import latent_mask

__all__ = ["latent_mask"]
