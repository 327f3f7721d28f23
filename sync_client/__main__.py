"""`python -m sync_client`, the same as the command `drive`."""

import sys

from sync_client.cli import main

sys.exit(main())
