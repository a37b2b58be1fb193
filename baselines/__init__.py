"""Simple ways to make defects, to compare with: one method per file."""
