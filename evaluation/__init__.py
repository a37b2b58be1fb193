"""Measures: of a base, of pairs, and of what is trained on them."""
