"""Quality metrics, with and without a clean reference."""
