"""Hear noisy speech clean."""
