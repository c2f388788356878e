# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Programs of storages, made up by chance, and what has to come of them."""

import random

from torch_remote_conformance.protocol.client import Client
from torch_remote_conformance.protocol.commands import (
    allocate,
    free,
    read,
    rename,
    resize,
    write,
    write_frames,
)
from torch_remote_conformance.protocol.wire import FRAMES_MAX, expect

#: Executors treat ids as opaque keys.
IDS = (1, 2, 3, 0x4080_0000_0000_0000, 1 << 63, (1 << 64) - 1)


def pattern(size: int) -> bytes:
    """Bytes without a short period, the same every time."""
    return random.Random(size).randbytes(size)


class Model:
    """A program of any commands, and what storages hold after it; None where the page leaves a byte undefined."""

    def __init__(self, chosen: random.Random) -> None:
        self._random = chosen
        self._storages: dict[int, list[int | None]] = {}
        self._commands: list[bytes] = []
        self._payload: list[bytes] = []
        self._expected: dict[int, list[int | None]] = {}

    def step(self) -> None:
        """One command more."""
        unused = [number for number in IDS if number not in self._storages]
        kind = self._random.choice(
            ("allocate", "write", "write frames", "read", "resize", "rename", "free")
        )
        if unused and (kind == "allocate" or not self._storages):
            number, size = self._random.choice(unused), self._random.randrange(200)
            self._storages[number] = [None] * size
            self._commands.append(allocate(number, size))
        elif self._storages:
            self._change(kind, self._random.choice(list(self._storages)), unused)

    def _change(self, kind: str, number: int, unused: list[int]) -> None:
        content = self._storages[number]
        offset = self._random.randint(0, len(content))
        size = self._random.randint(0, len(content) - offset)
        if kind.startswith("write"):
            data = self._random.randbytes(size)
            content[offset : offset + size] = data
            if kind == "write" or not data or len(self._payload) == FRAMES_MAX:
                self._commands.append(write(number, data, offset))
            else:
                self._commands.append(write_frames(number, size, 1, offset))
                self._payload.append(data)
        elif kind == "read":
            self._read(number, offset, size)
        elif kind == "free":
            del self._storages[number]
            self._commands.append(free(number))
        elif kind == "rename" and unused:
            new = self._random.choice(unused)
            self._storages[new] = self._storages.pop(number)
            self._commands.append(rename(number, new))
        elif kind == "resize" and unused:
            new, size = self._random.choice(unused), self._random.randrange(200)
            self._storages[new] = (self._storages.pop(number) + [None] * size)[:size]
            self._commands.append(resize(number, new, size))

    def _read(self, number: int, offset: int, size: int) -> None:
        token = len(self._expected)
        self._expected[token] = self._storages[number][offset : offset + size]
        self._commands.append(read(token, number, size, offset))

    def send(self, client: Client) -> None:
        """The commands since the last time, in one message."""
        client.run(*self._commands, payload=tuple(self._payload))
        self._commands, self._payload = [], []

    def finish(self, client: Client) -> None:
        """Reads all that lives, and compares every answer."""
        for number, content in self._storages.items():
            self._read(number, 0, len(content))
        self.send(client)
        client.synchronize()
        expect(client.failures == [], f"{client.failures}")
        for token, content in self._expected.items():
            answer = client.answer(token)
            assert isinstance(answer, bytes), answer
            same = len(answer) == len(content) and all(
                wanted in (None, byte) for byte, wanted in zip(answer, content, strict=True)
            )
            expect(same, f"read {answer.hex()} instead of {content}")
