"""Which version of the program this is: in the wheel, in reports, on the page."""

__version__ = "0.2.0"
