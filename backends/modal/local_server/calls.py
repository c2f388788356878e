# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What all calls have in common: a request in, an answer out, and one place for everything kept."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from grpclib import GRPCError, Status
from grpclib.server import Stream
from modal_proto.api_grpc import ModalClientBase

from .records import Workspace

Service = TypeVar("Service")
RequestMessage = TypeVar("RequestMessage")
ReplyMessage = TypeVar("ReplyMessage")
Handler = Callable[
    [Service, Stream[RequestMessage, ReplyMessage]],
    Coroutine[Any, Any, None],
]


class Calls(ModalClientBase):
    """A part of Modal's control plane; its subclasses have the calls of one subject each."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace


def unary(
    answer: Callable[[Service, RequestMessage], Awaitable[ReplyMessage]],
) -> Handler[Service, RequestMessage, ReplyMessage]:
    """A call with one request and one reply, written as a function from one to the other."""

    async def handle(service: Service, stream: Stream[RequestMessage, ReplyMessage]) -> None:
        request = await stream.recv_message()
        assert request is not None, "a unary call brings its request"
        await stream.send_message(await answer(service, request))

    return handle


def completed(service: Callable[[Workspace], Service], workspace: Workspace) -> Service:
    """The service with an answer for each call that its class doesn't have.

    A call of the second generation (`...V2`) is answered as its first is. Modal has hundreds of
    others; a client that makes one of them should learn its name.
    """
    assert isinstance(service, type)
    missing: frozenset[str] = getattr(service, "__abstractmethods__", frozenset())
    answers = {}
    for name in missing:
        first = name.removesuffix("V2")
        has_first = first not in missing and hasattr(service, first)
        answers[name] = getattr(service, first) if has_first else _refused(name)
    made: Service = type(service.__name__, (service,), answers)(workspace)
    return made


def _refused(name: str) -> Callable[[object, Stream[Any, Any]], Coroutine[Any, Any, None]]:
    async def refuse(_service: object, _stream: Stream[Any, Any]) -> None:
        raise GRPCError(Status.UNIMPLEMENTED, f"the local Modal server has no {name}")

    return refuse
