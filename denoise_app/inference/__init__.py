"""From a recording to a denoised recording."""
