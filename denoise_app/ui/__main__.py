"""`python -m denoise_app.ui`: the page, also where the program was installed without the checkout's app.py."""

from denoise_app.inference import threads


def main() -> None:
    """Serves the page until it is stopped."""
    threads.use(threads.count())  # before torch is loaded, which the page does
    from denoise_app.ui.app import serve

    serve()


if __name__ == "__main__":
    main()
