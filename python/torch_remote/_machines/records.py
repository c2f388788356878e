# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A file for each machine: written before it is started, completed after, removed when it has ended.

So that whatever was started can be found and ended from another process, also when the one that
started it was killed in between. A record holds no secret.
"""

import contextlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

# No provider takes longer to make what it was asked for.
_SEARCHED_S = 600.0


@dataclass(frozen=True)
class Record:
    """What is remembered of a machine. Times are in seconds since 1970."""

    name: str
    provider: str
    tags: Mapping[str, str]
    gpu_type: str = ""
    gpu_count: int = 1
    region: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    #: When the start began, or, once there is an id, when the machine was there.
    started_at: float = field(default_factory=time.time)
    #: None until the provider has told it.
    machine_id: str | None = None
    endpoint: str | None = None
    #: The executor's public key.
    server_key: str = ""
    usd_per_s: float | None = None
    price_source: str = ""
    lease_s: int | None = None
    idle_timeout_s: int | None = None
    lifetime_s: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    #: The process that started it.
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)

    @property
    def complete(self) -> bool:
        """Whether its start came to its end."""
        return self.machine_id is not None

    @property
    def starter_is_alive(self) -> bool:
        """Whether the process that started it may still be at it. True where nobody can know."""
        if self.pid <= 0:
            return False
        if self.host != socket.gethostname():
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        status = Path(f"/proc/{self.pid}/stat")
        with contextlib.suppress(OSError):
            return ") Z " not in status.read_text()
        return True

    def elapsed_s(self, until: float | None = None) -> float:
        return max((time.time() if until is None else until) - self.started_at, 0.0)

    def cost_usd(self, until: float | None = None) -> float | None:
        """Until now, or another time; None where no price is known."""
        return None if self.usd_per_s is None else self.usd_per_s * self.elapsed_s(until)

    def completed(self, **changes: Any) -> "Record":
        return replace(self, started_at=time.time(), **changes)


def state_folder() -> Path:
    """TORCH_REMOTE_STATE, or torch-remote in the user's state folder."""
    if chosen := os.environ.get("TORCH_REMOTE_STATE"):
        return Path(chosen)
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "torch-remote"


def add(record: Record) -> None:
    """Writes a new record. Raises FileExistsError where there is one of that name."""
    with _written(record) as path:
        os.link(path, _path(record.name))


def update(record: Record) -> None:
    """Writes a record over the one of its name."""
    with _written(record) as path:
        path.replace(_path(record.name))


def remove(record: Record) -> None:
    """Removes a record, unless another machine has its name by now."""
    with contextlib.suppress(LookupError):
        if _token(get(record.name)) != _token(record):
            return
    _path(record.name).unlink(missing_ok=True)


def get(name: str) -> Record:
    """The record of a name. Raises LookupError where there is none."""
    with contextlib.suppress(FileNotFoundError):
        return _read(_path(name))
    known = [record.name for record in everything()]
    raise LookupError(
        f"there is no machine {name!r}; "
        + (f"there are {', '.join(known)}" if known else "none is running")
    )


def everything() -> list[Record]:
    """All records, the oldest first."""
    found = []
    for path in _folder().glob("*.json"):
        with contextlib.suppress(FileNotFoundError):  # its machine was stopped just now
            found.append(_read(path))
    return sorted(found, key=lambda record: record.started_at)


def remember_search(record: Record) -> None:
    """Keeps the tags of a start that was cut off: what it asked for may come into being late."""
    _searches().mkdir(mode=0o700, parents=True, exist_ok=True)
    with _written(record) as path:
        path.replace(_searches() / f"{_token(record)}.json")


def searches() -> list[Record]:
    """The starts whose machines may still come; older ones are forgotten."""
    found = []
    for path in _searches().glob("*.json"):
        record = _read(path)
        if record.elapsed_s() < _SEARCHED_S:
            found.append(record)
        else:
            path.unlink(missing_ok=True)
    return found


def _read(path: Path) -> Record:
    known = {one.name for one in fields(Record)}
    try:
        content = json.loads(path.read_text(errors="replace"))
        return Record(**{name: value for name, value in content.items() if name in known})
    except (ValueError, TypeError, AttributeError):
        # Cut off, or somebody's edit. Its name is left, which is on the machine as a tag.
        return Record(
            path.stem,
            provider="",
            tags={"torch-remote-machine": path.stem},
            started_at=path.stat().st_mtime,
            pid=-1,
        )


@contextlib.contextmanager
def _written(record: Record) -> Any:
    """The record in a file with mode 600 beside where it goes, there only when whole."""
    _folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=_folder(), delete=False) as file:
        path = Path(file.name)
        try:
            json.dump(asdict(record), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
            yield path
        finally:
            path.unlink(missing_ok=True)


def _token(record: Record) -> str | None:
    return record.tags.get("torch-remote-start")


def _folder() -> Path:
    return state_folder() / "machines"


def _searches() -> Path:
    return state_folder() / "searches"


def _path(name: str) -> Path:
    return _folder() / f"{name}.json"
