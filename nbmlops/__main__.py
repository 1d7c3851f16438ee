"""``python -m nbmlops``."""

from nbmlops.cli import main

main()
