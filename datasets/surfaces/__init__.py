"""Drawn surfaces and defects: endless training crops for a general base, and the procedural generator behind them."""
