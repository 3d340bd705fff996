"""How good a recording is, with and without a clean reference."""
