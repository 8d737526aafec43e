"""A Python without what only a Unix has, as far as a Unix can show what Barker does there.

A process that has this folder in PYTHONPATH, and its children, load ``sitecustomize`` first. Left
out: what Windows does in a way of its own. ``docs/elsewhere.rst`` says what was never tried.
"""
