"""From a checkpoint to a file that runs without this program."""
