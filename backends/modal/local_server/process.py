# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The process that a sandbox is, and what it wrote."""

import asyncio
import codecs
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STDOUT, STDERR = 1, 2

# What a shell says of a program that is not there.
_COMMAND_NOT_FOUND = 127
# How long to wait for the ends of the pipes once the process group is dead: a process that left
# the group may hold them open.
_PIPES_GRACE_S = 1.0


@dataclass(frozen=True)
class LogEntry:
    descriptor: int
    text: str
    written_at: float


class Log:
    """What the process wrote, in order, with a way to wait for more."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self.ended = False
        self._news = asyncio.Event()

    def text(self, descriptor: int) -> str:
        return "".join(entry.text for entry in self.entries if entry.descriptor == descriptor)

    def append(self, descriptor: int, text: str) -> None:
        if text:
            self.entries.append(LogEntry(descriptor, text, time.time()))
            self._announce()

    def end(self) -> None:
        self.ended = True
        self._announce()

    async def follow(self, start: int = 0) -> AsyncIterator[tuple[int, LogEntry]]:
        """Entries from number `start` on, each with the next one's number, until the log ends."""
        position = start
        while True:
            news = self._news
            while position < len(self.entries):
                position += 1
                yield position, self.entries[position - 1]
            if self.ended:
                return
            await news.wait()

    def _announce(self) -> None:
        # Everybody who waits gets an event of his own time; a cleared one could be missed.
        self._news.set()
        self._news = asyncio.Event()


class ProcessGroup:
    """A command in a process group of its own, so that it can be ended with all its children."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.pid: int | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []

    async def start(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                env=dict(environment),
                cwd=folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            self.log.append(STDERR, f"{command[0]}: {error.strerror}\n")
            return
        self.pid = self._process.pid
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            asyncio.create_task(self._read(self._process.stdout, STDOUT)),
            asyncio.create_task(self._read(self._process.stderr, STDERR)),
        ]

    async def wait(self) -> int:
        """The exit code, as a shell gives it, once the command has ended."""
        if self._process is None:
            return _COMMAND_NOT_FOUND
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    async def end(self) -> int:
        """Kills what is left of the group, as a container's end does, and closes the log."""
        if self.pid is not None:
            # The group's number stays taken while any of its processes lives.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        code = await self.wait()
        if self._readers:
            _, late = await asyncio.wait(self._readers, timeout=_PIPES_GRACE_S)
            for reader in late:
                reader.cancel()
        self.log.end()
        return code

    async def _read(self, pipe: asyncio.StreamReader, descriptor: int) -> None:
        # The protocol carries text, and a read may end in the middle of a character.
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        while data := await pipe.read(1 << 16):
            self.log.append(descriptor, decoder.decode(data))
        self.log.append(descriptor, decoder.decode(b"", final=True))
