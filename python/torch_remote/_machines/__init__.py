# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is common to the machines of all providers.

terms.py checks what is asked for, records.py remembers it, start.py starts a machine and leaves
nothing behind, create.py makes devices of machines, groups.py knows which of them are one
machine's, machine.py is what a program sees of it, rented.py what a provider's has beside that,
manage.py finds and ends machines from any process, commands.py is the command line.
"""
