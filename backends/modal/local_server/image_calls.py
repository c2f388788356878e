# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Calls about files and the images that are made of them."""

# ruff: noqa: N802 (the protocol's names)

import asyncio
import dataclasses
import hashlib
import time
from pathlib import PurePosixPath

from aiohttp import web
from grpclib.server import Stream
from modal_proto import api_pb2

from .calls import Calls, unary
from .records import Image, Mount, known, new_id

_RESULT = api_pb2.GenericResult


class ImageCalls(Calls):
    """Uploads are kept by their hash; building an image is hashing its recipe."""

    @unary
    async def MountBatchedCheckExistence(
        self, request: api_pb2.MountBatchedCheckExistenceRequest
    ) -> api_pb2.MountBatchedCheckExistenceResponse:
        missing = [one for one in request.sha256_hex_hashes if one not in self.workspace.files]
        return api_pb2.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    @unary
    async def MountPutFile(
        self, request: api_pb2.MountPutFileRequest
    ) -> api_pb2.MountPutFileResponse:
        if request.data_blob_id:
            content = known(self.workspace.blobs, request.data_blob_id, "Blob")
            self.workspace.files[request.sha256_hex] = content
        elif request.HasField("data"):
            self.workspace.files[request.sha256_hex] = request.data
        return api_pb2.MountPutFileResponse(exists=request.sha256_hex in self.workspace.files)

    @unary
    async def BlobCreate(self, _request: api_pb2.BlobCreateRequest) -> api_pb2.BlobCreateResponse:
        """Where a file of 4 MiB or more goes: to a store beside the control plane, over HTTP."""
        blob_id = new_id("bl")
        url = f"{self.workspace.upload_url}/{blob_id}"
        return api_pb2.BlobCreateResponse(
            blob_ids=[blob_id], upload_urls=api_pb2.UploadUrlList(items=[url])
        )

    async def receive_blob(self, request: web.Request) -> web.Response:
        """The HTTP side of BlobCreate. The client compares the ETag with its own MD5."""
        content = await request.read()
        self.workspace.blobs[request.match_info["blob_id"]] = content
        return web.Response(headers={"ETag": f'"{hashlib.md5(content).hexdigest()}"'})

    @unary
    async def MountGetOrCreate(
        self, request: api_pb2.MountGetOrCreateRequest
    ) -> api_pb2.MountGetOrCreateResponse:
        files = {file.filename: file.sha256_hex for file in request.files}
        recipe = repr((request.deployment_name, sorted(files.items())))
        # The hash is the id, so that an image with the same files is the same image. A name without
        # files is one of Modal's own mounts, such as the Python that add_python brings.
        mount = Mount(_hashed("mo", recipe.encode()), request.deployment_name, files)
        self.workspace.mounts[mount.mount_id] = mount
        metadata = api_pb2.MountHandleMetadata(content_checksum_sha256_hex=mount.mount_id)
        return api_pb2.MountGetOrCreateResponse(mount_id=mount.mount_id, handle_metadata=metadata)

    @unary
    async def ImageGetOrCreate(
        self, request: api_pb2.ImageGetOrCreateRequest
    ) -> api_pb2.ImageGetOrCreateResponse:
        image = self._image(request)
        kept = self.workspace.images.get(image.image_id)
        if kept is not None and kept.log and not kept.failed and not request.force_build:
            return api_pb2.ImageGetOrCreateResponse(image_id=image.image_id, result=_result(kept))
        self.workspace.images[image.image_id] = image
        # No result: the client waits for one in ImageJoinStreaming.
        return api_pb2.ImageGetOrCreateResponse(image_id=image.image_id)

    async def ImageJoinStreaming(
        self,
        stream: Stream[api_pb2.ImageJoinStreamingRequest, api_pb2.ImageJoinStreamingResponse],
    ) -> None:
        """The build: its log line by line, then its result."""
        request = await stream.recv_message()
        assert request is not None
        image = known(self.workspace.images, request.image_id, "Image")
        if not image.log:
            await asyncio.sleep(self.workspace.faults.image_build_s)
            image = self._build(image)
        for number, line in enumerate(image.log, start=1):
            log = api_pb2.TaskLogs(
                data=line + "\n",
                timestamp=time.time(),
                file_descriptor=api_pb2.FILE_DESCRIPTOR_STDOUT,
            )
            await stream.send_message(
                api_pb2.ImageJoinStreamingResponse(task_logs=[log], entry_id=str(number))
            )
        await stream.send_message(
            api_pb2.ImageJoinStreamingResponse(result=_result(image), eof=True)
        )

    def _image(self, request: api_pb2.ImageGetOrCreateRequest) -> Image:
        """The image of a layer and all that it stands on, not built yet."""
        definition = request.image
        bases = [self.workspace.image(base.image_id) for base in definition.base_images]
        copied: dict[str, str] = {}
        for base in bases:
            copied |= base.files
        if definition.context_mount_id:
            copied |= known(self.workspace.mounts, definition.context_mount_id, "Mount").files
        recipe = api_pb2.Image()
        recipe.CopyFrom(definition)
        # A secret has another id in every run of a program.
        del recipe.secret_ids[:]
        content = recipe.SerializeToString(deterministic=True) + request.builder_version.encode()
        below = [command for base in bases for command in base.commands]
        layer = tuple(definition.dockerfile_commands)
        return Image(
            image_id=_hashed("im", content),
            commands=(*below, *layer),
            layer=layer,
            files={str(PurePosixPath(path)): digest for path, digest in copied.items()},
        )

    def _build(self, image: Image) -> Image:
        error = self.workspace.faults.image_build_error
        outcome = f"Built image {image.image_id}: its recipe was hashed, nothing was run."
        log = (*(f"=> {command}" for command in image.layer), error or outcome)
        built = dataclasses.replace(image, log=log, failed=error is not None)
        self.workspace.images[image.image_id] = built
        return built


def _hashed(prefix: str, content: bytes) -> str:
    return f"{prefix}-{hashlib.sha256(content).hexdigest()[:22]}"


def _result(image: Image) -> api_pb2.GenericResult:
    # Modal gives no exception for a failed command: what went wrong is in the log.
    return _RESULT(
        status=_RESULT.GENERIC_STATUS_FAILURE if image.failed else _RESULT.GENERIC_STATUS_SUCCESS
    )
