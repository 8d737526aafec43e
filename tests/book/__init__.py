"""Tests of the book, ``docs/*.rst`` and ``README.rst``.

``test_docs`` holds every quoted line of code, every number, option and name against the code, and
runs the commands that the chapters show, in a copy of the project; its docstring has the
conventions that chapters follow for that. ``test_pictures`` draws the figures again and compares.
``test_glossary`` finds a term that a chapter uses before the book defines it.
``BARKER_CHAPTER=07`` runs the commands of one chapter alone.
"""
