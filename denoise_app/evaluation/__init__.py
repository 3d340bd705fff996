"""Scores of denoisers: on pairs, over a sweep of SNRs, in time and memory."""
