"""Solvers in pure torch, one per file."""
