"""`python -m sagelocal …` is the program `sagelocal`."""

import sys

from sagelocal.cli import main

sys.exit(main())
