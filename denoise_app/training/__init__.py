"""Mixing, the training loop, and the scoring of checkpoints."""
