"""Sound in time: clips, files, rates, levels, mixtures."""
