"""An image as ComfyUI's mask editor saves it: a photograph whose alpha holds the mask (0 is masked)."""

from pathlib import Path

import numpy as np
from anomaly_synthesis.datasets.surfaces.surface import draw_surface, expose
from PIL import Image, ImageDraw

NAME = "example.png"  # which ComfyUI's Load Image shows first
SIZE = 384


def paint(path: Path, family: str = "cast") -> None:
    """A drawn surface of a family with one bent stroke of the brush and one blob."""
    rng = np.random.default_rng(5)
    picture = Image.fromarray(expose([draw_surface((SIZE, SIZE), rng, [family]).picture], rng)[0])
    alpha = Image.new("L", (SIZE, SIZE), 255)
    brush = ImageDraw.Draw(alpha)
    brush.line([(120, 250), (175, 215), (225, 225), (280, 160)], fill=0, width=16, joint="curve")
    brush.ellipse([130, 90, 190, 140], fill=0)
    picture.putalpha(alpha)
    picture.save(path)
