"""What tabs are given to work with: denoisers, visits, work in the background."""
