# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""How a container's command becomes one that can run on this machine."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Launch:
    """What a sandbox is about to run, and what stands here for what its container would have."""

    command: tuple[str, ...]
    #: What the sandbox was granted, such as "H100:2"; None without GPU.
    gpu: str | None
    #: Ports in the container: the local ports that their tunnels name.
    ports: Mapping[int, int]
    #: Mount paths in the container: the local folders that the volumes are.
    volumes: Mapping[str, Path]
    #: The process's whole environment, secrets included.
    environment: Mapping[str, str] = field(repr=False)


#: Replaces a container's command by a local one, word by word.
Rewrite = Callable[[Launch], Sequence[str]]


def localized(launch: Launch, programs: Mapping[str, Path]) -> list[str]:
    """The command with the local program, the tunnels' ports on loopback and the volumes' folders.

    A program is known by its name, wherever the container would have it. Ports are replaced in
    addresses that mean this machine, anywhere in a word, so a script for a shell can have them too,
    and where one is a whole word or an option's whole value (`--port 5555`, `--port=5555`).
    """
    words = [
        _with_folders(_with_ports(word, launch.ports), launch.volumes) for word in launch.command
    ]
    if words:
        program = programs.get(PurePosixPath(words[0]).name)
        words[0] = str(program) if program else words[0]
    return words


_ADDRESS = re.compile(r"(?:0\.0\.0\.0|127\.0\.0\.1|localhost|\[::\]|\[::1\]|\*):(\d+)")
_VALUE = re.compile(r"(?:(--?[^\s=]+)=)?(\d+)")


def _with_ports(word: str, ports: Mapping[int, int]) -> str:
    if (value := _VALUE.fullmatch(word)) and int(value[2]) in ports:
        return (f"{value[1]}=" if value[1] else "") + str(ports[int(value[2])])

    def local(address: re.Match[str]) -> str:
        port = int(address[1])
        # One replacement in one pass: a local port may happen to be another tunnel's number.
        return f"127.0.0.1:{ports[port]}" if port in ports else address[0]

    return _ADDRESS.sub(local, word)


def _with_folders(word: str, volumes: Mapping[str, Path]) -> str:
    option, equals, path = word.rpartition("=")
    for mount_path, folder in volumes.items():
        if PurePosixPath(path).is_relative_to(mount_path):
            return option + equals + str(folder / PurePosixPath(path).relative_to(mount_path))
    return word
