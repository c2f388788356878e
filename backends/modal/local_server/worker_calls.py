# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The worker's service, from which the client reads the output of second-generation sandboxes."""

# ruff: noqa: N802 (the protocol's names)

from grpclib import GRPCError, Status
from grpclib.server import Stream
from modal_proto import task_command_router_pb2
from modal_proto.task_command_router_grpc import TaskCommandRouterBase

from .process import STDERR, STDOUT
from .records import Workspace
from .sandbox import Sandbox


class WorkerCalls(TaskCommandRouterBase):
    """Of all that a worker can do inside a sandbox, reading its output."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    async def SandboxStdioReadV2(
        self,
        stream: Stream[
            task_command_router_pb2.SandboxStdioReadV2Request,
            task_command_router_pb2.SandboxStdioReadV2Response,
        ],
    ) -> None:
        """Bytes from an offset on, to the sandbox's end."""
        request = await stream.recv_message()
        assert request is not None
        reads_stdout = (
            request.file_descriptor == task_command_router_pb2.SANDBOX_STDIO_FILE_DESCRIPTOR_STDOUT
        )
        descriptor = STDOUT if reads_stdout else STDERR
        position = 0
        async for _, entry in self._sandbox(request.task_id).log.follow():
            if entry.descriptor != descriptor:
                continue
            data = entry.text.encode()
            rest = data[max(0, request.offset - position) :]
            if rest:
                start = position + len(data) - len(rest)
                await stream.send_message(
                    task_command_router_pb2.SandboxStdioReadV2Response(
                        data=rest, starting_offset=start
                    )
                )
            position += len(data)

    def _sandbox(self, task_id: str) -> Sandbox:
        for sandbox in self.workspace.sandboxes.values():
            if sandbox.task_id == task_id:
                return sandbox
        raise GRPCError(Status.NOT_FOUND, f"Task {task_id!r} not found")
