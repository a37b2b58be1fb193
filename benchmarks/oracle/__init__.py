"""Samplers against an exact model: Gaussian-mixture worlds, peers, measures, report; run by benchmarks/oracle.py."""
