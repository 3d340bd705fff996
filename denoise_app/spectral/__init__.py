"""Sound in frequency: the STFT pair, bands, and trackers of the noise spectrum."""
