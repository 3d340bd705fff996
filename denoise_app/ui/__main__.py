"""`python -m denoise_app.ui`: the page, also where the program was installed without the checkout's app.py."""

from denoise_app.inference import threads
from denoise_app.serve import memory


def main() -> None:
    """Serves the page until it is stopped."""
    threads.use(threads.count())  # before torch is loaded, which the page does
    memory.keep_few_heaps()  # before there are threads
    from denoise_app.ui.app import serve

    serve()


if __name__ == "__main__":
    main()
