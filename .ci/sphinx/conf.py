"""Only to check that the book has no faults; it is meant to be read as it is, or on a forge."""

project = "Barker"
root_doc = "index"
html_theme = "alabaster"
# Chapters link to each other by file, which works everywhere; so there is no toctree.
suppress_warnings = ["toc.not_included"]
