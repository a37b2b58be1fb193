"""Which drawn type stands for a type of somebody's dataset."""

from __future__ import annotations

from ...choices import DEFECTS

# Parts of names that datasets use, in the order in which they are looked for.
_KIN = {
    "blowhole": "pit",
    "blow_hole": "pit",
    "pore": "pit",
    "porosity": "pit",
    "pitting": "pit",
    "cavity": "pit",
    "break": "chip",
    "broken": "chip",
    "chip": "chip",
    "spall": "chip",
    "edge": "chip",
    "scratch": "scratch",
    "scrape": "scratch",
    "groove": "scratch",
    "crack": "crack",
    "fracture": "crack",
    "split": "crack",
    "rust": "corrosion",
    "corro": "corrosion",
    "oxid": "corrosion",
    "abras": "scuff",
    "scuff": "scuff",
    "rough": "scuff",
    "worn": "scuff",
    "fray": "fibre",
    "hair": "fibre",
    "fiber": "fibre",
    "fibre": "fibre",
    "thread": "scratch",
    "wire": "fibre",
    "contam": "contamination",
    "foreign": "contamination",
    "particle": "contamination",
    "glue": "contamination",
    "color": "discoloration",
    "colour": "discoloration",
    "uneven": "discoloration",
    "fade": "discoloration",
    "stain": "stain",
    "oil": "stain",
    "water": "stain",
    "dirt": "stain",
    "spot": "stain",
    "ink": "stain",
    "dent": "dent",
    "bump": "dent",
    "squeeze": "dent",
    "press": "dent",
    "poke": "hole",
    "punch": "hole",
    "hole": "hole",
    "cut": "cut",
    "bubble": "bubble",
    "blister": "bubble",
    "burr": "burr",
    "flash": "burr",
    "burn": "burn",
    "scorch": "burn",
    "missing": "missing",
    "print": "missing",
}
GENERIC = ("pit", "scratch", "stain", "crack", "chip", "dent")


def drawn_type(name: str, number: int) -> str:
    """The drawn type nearest to a name: of the same name, else by a part of it, else one of GENERIC in turn.

    number: of the item, which chooses among GENERIC.
    """
    plain = name.lower()
    if plain in DEFECTS:
        return plain
    found = [type for part, type in _KIN.items() if part in plain]
    return found[0] if found else GENERIC[number % len(GENERIC)]
