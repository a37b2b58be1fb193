"""The former place of `images.masks`: scripts of users import it, this package does not."""

from ..images.masks import latent_mask

__all__ = ["latent_mask"]
