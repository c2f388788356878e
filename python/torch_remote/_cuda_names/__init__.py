# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Programs that say "cuda", on a remote device: `torch_remote.replace_cuda` and `torch-remote run`.

Nothing of PyTorch is changed before one of the two is used.
"""
