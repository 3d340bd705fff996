"""Spectral subtraction with over-subtraction and a spectral floor.

Paper: Berouti, Schwartz and Makhoul 1979, "Enhancement of speech corrupted by acoustic noise";
    noise after Gerkmann and Hendriks 2012.
Latency: 512 samples, 32 ms at 16 kHz; causal.
"""
