# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Calls about sandboxes, of both generations.

The client uses the first for sandboxes with a GPU and the second for all others; it finds sandboxes
by list or name through the second. They differ in how a sandbox is created and its output read;
the rest is the same under another name.
"""

# ruff: noqa: N802 (the protocol's names)

import asyncio
from collections.abc import Iterable

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from grpclib.server import Stream
from modal_proto import api_pb2

from .calls import Calls, unary
from .records import DEFAULT_ENVIRONMENT, Secret, known, new_id
from .sandbox import Request, Sandbox
from .sandbox_messages import (
    checked_gpu,
    checked_ports,
    information_message,
    metadata_message,
    tags_message,
    tunnels_message,
)

_RESULT = api_pb2.GenericResult

_LONGEST_TIMEOUT_S = 24 * 3600
# How long a question about a task is held back while the sandbox waits for its machine.
_TASK_WAIT_S = 0.5
# An id of any other length than this one is of the second generation to the client.
_FIRST_GENERATION_LENGTH = 22
_SECOND_GENERATION_LENGTH = 26


class SandboxCalls(Calls):
    """The life of sandboxes as a client sees it."""

    @unary
    async def SandboxCreate(
        self, request: api_pb2.SandboxCreateRequest
    ) -> api_pb2.SandboxCreateResponse:
        secrets = [
            known(self.workspace.secrets, one, "Secret") for one in request.definition.secret_ids
        ]
        sandbox = self._create(
            request.app_id,
            request.definition,
            secrets,
            request.tags,
            new_id("sb", _FIRST_GENERATION_LENGTH),
        )
        await asyncio.sleep(self.workspace.faults.create_reply_delay_s)
        # The client asks for the task until there is one: that is where it waits for a machine.
        return api_pb2.SandboxCreateResponse(
            sandbox_id=sandbox.sandbox_id, metadata=metadata_message(sandbox)
        )

    @unary
    async def SandboxCreateV2(
        self, request: api_pb2.SandboxCreateV2Request
    ) -> api_pb2.SandboxCreateV2Response:
        secrets = [
            known(self.workspace.secrets, source.secret_id, "Secret")
            if source.secret_id
            else Secret("", "", dict(source.env.contents))
            for source in request.secret_sources
        ]
        sandbox_id = new_id("sb", _SECOND_GENERATION_LENGTH)
        sandbox = self._create(
            request.app_id, request.definition, secrets, request.tags, sandbox_id
        )
        await asyncio.sleep(self.workspace.faults.create_reply_delay_s)
        # Here the client waits for a machine in this call.
        await sandbox.started(sandbox.request.timeout_s)
        return api_pb2.SandboxCreateV2Response(
            sandbox_id=sandbox_id,
            task_id=sandbox.task_id,
            metadata=metadata_message(sandbox),
            command_router_access=self._worker_access(),
        )

    @unary
    async def SandboxGetTaskId(
        self, request: api_pb2.SandboxGetTaskIdRequest
    ) -> api_pb2.SandboxGetTaskIdResponse:
        sandbox = self._sandbox(request.sandbox_id)
        if await sandbox.started(_TASK_WAIT_S):
            return api_pb2.SandboxGetTaskIdResponse(task_id=sandbox.task_id)
        return api_pb2.SandboxGetTaskIdResponse(task_result=sandbox.result)

    @unary
    async def SandboxGetTunnels(
        self, request: api_pb2.SandboxGetTunnelsRequest
    ) -> api_pb2.SandboxGetTunnelsResponse:
        sandbox = self._sandbox(request.sandbox_id)
        if self.workspace.faults.no_tunnels:
            ready = await sandbox.ended(request.timeout) is not None
        else:
            ready = await sandbox.started(request.timeout)
        if sandbox.result is not None:
            return api_pb2.SandboxGetTunnelsResponse(result=sandbox.result)
        if not ready:
            late = _RESULT(status=_RESULT.GENERIC_STATUS_TIMEOUT)
            return api_pb2.SandboxGetTunnelsResponse(result=late)
        return api_pb2.SandboxGetTunnelsResponse(tunnels=tunnels_message(sandbox.ports))

    @unary
    async def SandboxWait(self, request: api_pb2.SandboxWaitRequest) -> api_pb2.SandboxWaitResponse:
        sandbox = self._sandbox(request.sandbox_id)
        result = await sandbox.ended(request.timeout)
        return api_pb2.SandboxWaitResponse(result=result, metadata=metadata_message(sandbox))

    @unary
    async def SandboxTerminate(
        self, request: api_pb2.SandboxTerminateRequest
    ) -> api_pb2.SandboxTerminateResponse:
        sandbox = self._sandbox(request.sandbox_id)
        earlier = sandbox.result
        await sandbox.terminate()
        return api_pb2.SandboxTerminateResponse(existing_result=earlier)

    async def SandboxGetLogs(
        self, stream: Stream[api_pb2.SandboxGetLogsRequest, api_pb2.TaskLogsBatch]
    ) -> None:
        """The output of one descriptor, from where the client left off to the sandbox's end."""
        request = await stream.recv_message()
        assert request is not None
        sandbox = self._sandbox(request.sandbox_id)
        next_id = request.last_entry_id or "0"
        async for position, entry in sandbox.log.follow(int(next_id)):
            next_id = str(position)
            if entry.descriptor == request.file_descriptor:
                log = api_pb2.TaskLogs(
                    data=entry.text,
                    timestamp=entry.written_at,
                    file_descriptor=request.file_descriptor,
                )
                await stream.send_message(
                    api_pb2.TaskLogsBatch(task_id=sandbox.task_id, items=[log], entry_id=next_id)
                )
        await stream.send_message(
            api_pb2.TaskLogsBatch(task_id=sandbox.task_id, entry_id=next_id, eof=True)
        )

    @unary
    async def SandboxList(self, request: api_pb2.SandboxListRequest) -> api_pb2.SandboxListResponse:
        wanted = {tag.tag_name: tag.tag_value for tag in request.tags}
        environment = request.environment_name or DEFAULT_ENVIRONMENT
        before = request.before_timestamp or float("inf")
        found = [
            sandbox
            for sandbox in self.workspace.sandboxes.values()
            if (sandbox.running or request.include_finished)
            and sandbox.created_at < before
            and wanted.items() <= sandbox.tags.items()
            and (
                sandbox.app_id == request.app_id
                if request.app_id
                else sandbox.request.app.environment == environment
            )
        ]
        found.sort(key=lambda sandbox: sandbox.created_at, reverse=True)
        return api_pb2.SandboxListResponse(
            sandboxes=[information_message(sandbox) for sandbox in found]
        )

    @unary
    async def SandboxGetFromName(
        self, request: api_pb2.SandboxGetFromNameRequest
    ) -> api_pb2.SandboxGetFromNameResponse:
        return self._from_name(request, _FIRST_GENERATION_LENGTH)

    @unary
    async def SandboxGetFromNameV2(
        self, request: api_pb2.SandboxGetFromNameRequest
    ) -> api_pb2.SandboxGetFromNameResponse:
        return self._from_name(request, _SECOND_GENERATION_LENGTH)

    @unary
    async def SandboxTagsGet(
        self, request: api_pb2.SandboxTagsGetRequest
    ) -> api_pb2.SandboxTagsGetResponse:
        return api_pb2.SandboxTagsGetResponse(
            tags=tags_message(self._sandbox(request.sandbox_id).tags)
        )

    @unary
    async def SandboxTagsSet(self, request: api_pb2.SandboxTagsSetRequest) -> Empty:
        sandbox = self._sandbox(request.sandbox_id)
        sandbox.tags = {tag.tag_name: tag.tag_value for tag in request.tags}
        return Empty()

    @unary
    async def SandboxGetCommandRouterAccess(
        self, _request: api_pb2.SandboxGetCommandRouterAccessRequest
    ) -> api_pb2.SandboxGetCommandRouterAccessResponse:
        access = self._worker_access()
        return api_pb2.SandboxGetCommandRouterAccessResponse(url=access.url, jwt=access.jwt)

    def _create(
        self,
        app_id: str,
        asked: api_pb2.Sandbox,
        secrets: Iterable[Secret],
        tags: Iterable[api_pb2.SandboxTag],
        sandbox_id: str,
    ) -> Sandbox:
        volumes = self.workspace.volumes
        request = Request(
            app=known(self.workspace.apps, app_id, "App"),
            image=self.workspace.image(asked.image_id),
            command=tuple(asked.entrypoint_args),
            name=asked.name,
            gpu=checked_gpu(asked.resources.gpu_config),
            regions=tuple(asked.scheduler_placement.regions),
            ports=checked_ports(asked.open_ports.ports),
            timeout_s=asked.timeout_secs,
            secrets=tuple(secrets),
            volumes={
                mount.mount_path: known(volumes, mount.volume_id, "Volume")
                for mount in asked.volume_mounts
            },
            tags={tag.tag_name: tag.tag_value for tag in tags},
        )
        self._check(request)
        sandbox = Sandbox(sandbox_id, request, self.workspace)
        self.workspace.sandboxes[sandbox_id] = sandbox
        return sandbox

    def _from_name(
        self, request: api_pb2.SandboxGetFromNameRequest, id_length: int
    ) -> api_pb2.SandboxGetFromNameResponse:
        """The latest of that name; each generation finds its own, and the client asks both."""
        environment = request.environment_name or DEFAULT_ENVIRONMENT
        wanted = (request.sandbox_name, request.app_name, environment)
        for sandbox in reversed(self.workspace.sandboxes.values()):
            app, name = sandbox.request.app, sandbox.request.name
            if (
                (name, app.name, app.environment) == wanted
                and len(sandbox.sandbox_id) == len("sb-") + id_length
                and (sandbox.running or request.include_terminated)
            ):
                return api_pb2.SandboxGetFromNameResponse(
                    sandbox_id=sandbox.sandbox_id, metadata=metadata_message(sandbox)
                )
        raise GRPCError(Status.NOT_FOUND, f"Sandbox {request.sandbox_name!r} not found")

    def _check(self, request: Request) -> None:
        if not 0 < request.timeout_s <= _LONGEST_TIMEOUT_S:
            raise GRPCError(Status.INVALID_ARGUMENT, "Timeout must be between 1 s and 24 hours")
        for other in self.workspace.sandboxes.values():
            asked = other.request
            if (
                request.name
                and other.running
                and (asked.app, asked.name) == (request.app, request.name)
            ):
                message = f"Sandbox {request.name!r} already exists in this app"
                raise GRPCError(Status.ALREADY_EXISTS, message)

    def _sandbox(self, sandbox_id: str) -> Sandbox:
        return known(self.workspace.sandboxes, sandbox_id, "Sandbox")

    def _worker_access(self) -> api_pb2.CommandRouterAccess:
        return api_pb2.CommandRouterAccess(url=self.workspace.url, jwt=self.workspace.auth_token)
