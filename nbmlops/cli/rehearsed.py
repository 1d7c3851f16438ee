"""``python -m nbmlops.cli.rehearsed …`` is ``nbmlops …`` as a process that ends with the one that started it."""

from __future__ import annotations

import sys

from nbmlops.cli import main
from nbmlops.kernels.zygote import die_with_parent

if __name__ == "__main__":
    if sys.platform == "linux":  # elsewhere only a caller that ends in order stops it
        die_with_parent()
    main()
