"""The report: what is in the store and how it got there, as one page and one file of points."""
