"""Starts one of them, with the flags of the service that it is."""

import importlib
import sys

from tests.broken import load

if __name__ == "__main__":
    broken = load(sys.argv[1])
    service = importlib.import_module(f"barker.{broken.ROLE}")
    broken.break_it()
    sys.exit(service.main(sys.argv[2:]))
