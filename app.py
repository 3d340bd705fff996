"""Entry of the page: `python app.py`, and of the hosted Space."""

from denoise_app.ui.__main__ import main

if __name__ == "__main__":
    main()
