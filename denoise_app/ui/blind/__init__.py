"""Blind listening, under the results of a comparison."""
