"""`python -m denoise_app`: the command line."""

from denoise_app.cli import main

if __name__ == "__main__":  # a worker process of `evaluate` imports this file too
    raise SystemExit(main())
