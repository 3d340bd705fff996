"""Training: data, mixing, the loop, validation, plans of many runs."""
