# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""torch-remote's own source, which the image builds for CUDA: found, and packed into one file.

Equal sources make equal bytes, wherever and whenever they are packed, so that Modal builds an image
only once for each version.
"""

import gzip
import hashlib
import importlib.metadata
import io
import json
import os
import tarfile
import tempfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import torch_remote
from torch_remote.providers import ProviderError

# What the build reads; tests of Python, benchmarks and documents change without a new image.
_PARTS = (
    "CMakeLists.txt",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "backends/cuda_direct",
    "backends/modal/torch_remote_modal",
    "cmake",
    "core",
    "emulator",
    "python/_torch_remote_autoload",
    "python/_torch_remote_executor",
    "python/torch_remote",
)
# Made by a build here, for this machine.
_BUILT = ("_build_info.py",)
_BUILT_FOLDERS = ("__pycache__", "bin")
_BUILT_SUFFIXES = (".so", ".pyd", ".pyc")

_LONG_AGO = 1_000_000_000  # Modal's client refuses files that seem to change during a build


def packed(chosen: str | os.PathLike[str] | None = None) -> Path:
    """A file for pip install: the source that was chosen, or this package's own.

    Args:
        chosen: a source folder or an sdist (.tar.gz).

    Raises:
        ProviderError: there is none; the message says what to do.
    """
    if chosen is not None:
        path = Path(chosen).expanduser()
        if path.is_file() and path.name.endswith(".tar.gz"):
            return path
        if not _is_source(path):
            raise ProviderError(
                f"source={str(chosen)!r} is neither torch-remote's source folder nor an sdist "
                "(.tar.gz)",
                nothing_started=True,
            )
        return _pack(path)
    for folder in _candidates():
        if _is_source(folder):
            return _pack(folder)
    raise ProviderError(
        "the image on Modal is built from torch-remote's source, and this installation has none "
        "beside it: pass source= with the path of a source folder or an sdist of version "
        f"{torch_remote.__version__} (python -m build --sdist makes one)",
        nothing_started=True,
    )


def _candidates() -> Iterator[Path]:
    # An editable installation, or a program that runs in the source folder.
    yield Path(torch_remote.__file__).resolve().parents[2]
    # pip notes from which folder it installed.
    try:
        note = importlib.metadata.distribution("torch-remote").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return
    url = urllib.parse.urlsplit(json.loads(note or "{}").get("url", ""))
    if url.scheme == "file":
        yield Path(urllib.parse.unquote(url.path))


def _is_source(folder: Path) -> bool:
    """Of this version: another one would be an executor that may not understand this client."""
    if not (folder / "core" / "executor").is_dir():
        return False
    try:
        project = (folder / "pyproject.toml").read_text()
    except OSError:
        return False
    return f'\nversion = "{torch_remote.__version__}"\n' in project


def _pack(folder: Path) -> Path:
    content = _archive(folder)
    digest = hashlib.sha256(content).hexdigest()[:16]
    path = _cache() / f"torch-remote-{torch_remote.__version__}-{digest}.tar.gz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # There only when whole: several programs may do this at a time.
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        os.utime(file.name, (_LONG_AGO, _LONG_AGO))
        Path(file.name).replace(path)
    return path


def _archive(folder: Path) -> bytes:
    root = f"torch-remote-{torch_remote.__version__}"
    content = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=content, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in _files(folder):
            entry = tarfile.TarInfo(f"{root}/{path.relative_to(folder).as_posix()}")
            entry.size = path.stat().st_size
            entry.mtime = _LONG_AGO
            entry.mode = 0o644
            with path.open("rb") as file:
                archive.addfile(entry, file)
    return content.getvalue()


def _files(folder: Path) -> list[Path]:
    found = []
    for part in _PARTS:
        path = folder / part
        found += (
            [path] if path.is_file() else [one for one in path.rglob("*") if _belongs(one, path)]
        )
    return sorted(found)


def _belongs(path: Path, part: Path) -> bool:
    return (
        path.is_file()
        and path.name not in _BUILT
        and path.suffix not in _BUILT_SUFFIXES
        and not set(path.relative_to(part).parts) & set(_BUILT_FOLDERS)
    )


def _cache() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "torch-remote"
