"""Readers, procedural surfaces, group split, masks and writers."""
