# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m torch_remote_conformance`: as `torch-remote conformance`."""

import sys

from torch_remote_conformance.cli import main

if __name__ == "__main__":
    sys.exit(main())
