"""``python -m rxt`` is the command ``rxt``."""

import sys

from rxt.cli.main import main

sys.exit(main())
