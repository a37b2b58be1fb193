"""Losses and the one loop, pure torch."""
