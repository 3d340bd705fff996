"""Entry of the page: `python app.py`, and of the hosted Space."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded: more threads only get in each other's way here

from denoise_app.ui.app import serve

if __name__ == "__main__":
    serve()
