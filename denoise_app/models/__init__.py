"""Denoisers with weights: one file, one paper."""
