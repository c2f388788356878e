# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Calls about what a workspace has: its environment, apps, secrets, volumes and prices."""

# ruff: noqa: N802 (the protocol's names)

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from .calls import Calls, unary
from .records import DEFAULT_ENVIRONMENT, App, Secret, Volume, named, new_id

# The newest that client 1.6.4 knows; the client takes the image's building steps from it.
IMAGE_BUILDER_VERSION = "2026.10"

_MAY_CREATE = (
    api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING,
    api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS,
)


class ObjectCalls(Calls):
    """The calls that look up or make something small by name."""

    @unary
    async def ClientHello(self, _request: Empty) -> api_pb2.ClientHelloResponse:
        return api_pb2.ClientHelloResponse(image_builder_version=IMAGE_BUILDER_VERSION)

    @unary
    async def AuthTokenGet(
        self, _request: api_pb2.AuthTokenGetRequest
    ) -> api_pb2.AuthTokenGetResponse:
        return api_pb2.AuthTokenGetResponse(token=self.workspace.auth_token)

    @unary
    async def WorkspaceNameLookup(self, _request: Empty) -> api_pb2.WorkspaceNameLookupResponse:
        return api_pb2.WorkspaceNameLookupResponse(workspace_name="local", username="local")

    @unary
    async def WorkspaceBillingRates(
        self, _request: api_pb2.WorkspaceBillingRatesRequest
    ) -> api_pb2.WorkspaceBillingRatesResponse:
        rates = self.workspace.rates
        lines = [f"{resource}: {price}" for resource, price in rates.items()]
        return api_pb2.WorkspaceBillingRatesResponse(rates=rates, formatted="\n".join(lines))

    @unary
    async def EnvironmentGetOrCreate(
        self, request: api_pb2.EnvironmentGetOrCreateRequest
    ) -> api_pb2.EnvironmentGetOrCreateResponse:
        name = request.deployment_name or DEFAULT_ENVIRONMENT
        settings = api_pb2.EnvironmentSettings(image_builder_version=IMAGE_BUILDER_VERSION)
        return api_pb2.EnvironmentGetOrCreateResponse(
            environment_id=f"en-{name}",
            metadata=api_pb2.EnvironmentMetadata(name=name, settings=settings),
        )

    @unary
    async def AppGetOrCreate(
        self, request: api_pb2.AppGetOrCreateRequest
    ) -> api_pb2.AppGetOrCreateResponse:
        name, environment = request.app_name, request.environment_name or DEFAULT_ENVIRONMENT

        def make() -> App:
            app = App(new_id("ap"), name, environment)
            return self.workspace.apps.setdefault(app.app_id, app)

        app = named(
            self.workspace.apps,
            "App",
            name,
            lambda one: (one.name, one.environment) == (name, environment),
            make if request.object_creation_type in _MAY_CREATE else None,
        )
        metadata = api_pb2.AppHandleMetadata(
            app_id=app.app_id,
            description=name,
            environment_name=environment,
            lifecycle=api_pb2.AppLifecycle(
                app_state=api_pb2.APP_STATE_DEPLOYED, created_at=app.created_at
            ),
        )
        return api_pb2.AppGetOrCreateResponse(app_id=app.app_id, handle_metadata=metadata)

    @unary
    async def SecretGetOrCreate(
        self, request: api_pb2.SecretGetOrCreateRequest
    ) -> api_pb2.SecretGetOrCreateResponse:
        name = request.deployment_name

        def make() -> Secret:
            secret = Secret(new_id("st"), name, dict(request.env_dict))
            return self.workspace.secrets.setdefault(secret.secret_id, secret)

        # The client makes what Secret.from_dict is given anew in every program: a new object each time.
        secret = make() if request.object_creation_type else self._named_secret(name)
        return api_pb2.SecretGetOrCreateResponse(
            secret_id=secret.secret_id,
            metadata=api_pb2.SecretMetadata(name=secret.name, keys=sorted(secret.values)),
        )

    def _named_secret(self, name: str) -> Secret:
        return named(self.workspace.secrets, "Secret", name, lambda one: one.name == name)

    @unary
    async def VolumeGetOrCreate(
        self, request: api_pb2.VolumeGetOrCreateRequest
    ) -> api_pb2.VolumeGetOrCreateResponse:
        name = request.deployment_name

        def make() -> Volume:
            volume_id = new_id("vo")
            volume = Volume(volume_id, name, self.workspace.folder / volume_id)
            volume.folder.mkdir()
            return self.workspace.volumes.setdefault(volume_id, volume)

        volume = named(
            self.workspace.volumes,
            "Volume",
            name,
            lambda one: one.name == name,
            make if request.object_creation_type in _MAY_CREATE else None,
        )
        version = request.version or api_pb2.VOLUME_FS_VERSION_V1
        return api_pb2.VolumeGetOrCreateResponse(
            volume_id=volume.volume_id,
            version=version,
            metadata=api_pb2.VolumeMetadata(name=name, version=version),
        )
