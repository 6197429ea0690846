"""`python -m ltcls`: the command where its script is not on the path."""

import sys

from ltcls.cli import main

sys.exit(main())
