# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Between the protocol's messages about sandboxes and what the server knows of them."""

from collections.abc import Iterable, Mapping

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from .sandbox import Sandbox

#: Modal's names of GPUs and how many of each a machine has at most.
GPU_COUNTS = {
    "T4": 8,
    "L4": 8,
    "A10": 4,
    "A10G": 4,
    "A100": 8,
    "A100-40GB": 8,
    "A100-80GB": 8,
    "L40S": 8,
    "H100": 8,
    "H100!": 8,
    "H200": 8,
    "B200": 8,
}


def checked_gpu(asked: api_pb2.GPUConfig) -> str | None:
    if not asked.gpu_type:
        return None
    most = GPU_COUNTS.get(asked.gpu_type)
    if most is None or not 1 <= asked.count <= most:
        message = f"Invalid GPU: {asked.gpu_type}:{asked.count}"
        raise GRPCError(Status.INVALID_ARGUMENT, message)
    return f"{asked.gpu_type}:{asked.count}"


def checked_ports(asked: Iterable[api_pb2.PortSpec]) -> tuple[int, ...]:
    if not all(port.unencrypted for port in asked):
        message = "the local Modal server has only unencrypted tunnels"
        raise GRPCError(Status.UNIMPLEMENTED, message)
    return tuple(port.port for port in asked)


def tunnels_message(ports: Mapping[int, int]) -> list[api_pb2.TunnelData]:
    # Modal gives every tunnel a TLS address too. This one answers no TLS: it is the same port.
    return [
        api_pb2.TunnelData(
            container_port=port,
            host="127.0.0.1",
            port=local,
            unencrypted_host="127.0.0.1",
            unencrypted_port=local,
        )
        for port, local in ports.items()
    ]


def tags_message(tags: Mapping[str, str]) -> list[api_pb2.SandboxTag]:
    return [api_pb2.SandboxTag(tag_name=name, tag_value=value) for name, value in tags.items()]


def metadata_message(sandbox: Sandbox) -> api_pb2.SandboxHandleMetadata:
    return api_pb2.SandboxHandleMetadata(app_id=sandbox.app_id, result=sandbox.result)


def information_message(sandbox: Sandbox) -> api_pb2.SandboxInfo:
    return api_pb2.SandboxInfo(
        id=sandbox.sandbox_id,
        created_at=sandbox.created_at,
        app_id=sandbox.app_id,
        name=sandbox.request.name,
        image_id=sandbox.request.image.image_id,
        regions=sandbox.request.regions,
        tags=tags_message(sandbox.tags),
        timeout_secs=int(sandbox.request.timeout_s),
        task_info=api_pb2.TaskInfo(id=sandbox.task_id, result=sandbox.result),
        metadata=metadata_message(sandbox),
    )
