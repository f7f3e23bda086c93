"""The named things in a Milvus database: described, listed, created and dropped one by one."""

from __future__ import annotations

import asyncio
from typing import Final, TypeAlias

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from lookalike_search.adapters.milvus.connection import MilvusConnection
from lookalike_search.adapters.milvus.failures import MilvusFailure, gone
from lookalike_search.adapters.milvus.names import parse_physical
from lookalike_search.adapters.milvus.schema import key_values

Description: TypeAlias = milvus_pb2.DescribeCollectionResponse
"""What Milvus knows about one of them."""
ATTEMPTS: Final = 5
"""How often a step is taken anew that another process got in the way of."""


class Metadata:
    """Collections and aliases of all tenants, by their Milvus names."""

    def __init__(self, connection: MilvusConnection) -> None:
        self._connection = connection
        self.naming = asyncio.Lock()
        """Held while a name is given, moved or taken away, so that this process does one at a
        time; what other processes do at the same time is found out afterwards."""

    async def names(self, tenant: str) -> list[str]:
        """Return the names of all collections in a tenant's database, without aliases."""
        try:
            answer = await self._connection.call(
                "ShowCollections", milvus_pb2.ShowCollectionsRequest(), tenant=tenant
            )
        except MilvusFailure as failure:
            if failure.is_missing_collection:
                return []
            raise
        return list(answer.collection_names)

    async def describe(self, tenant: str, name: str) -> Description | None:
        """Return what Milvus knows about a collection or alias, or None."""
        request = milvus_pb2.DescribeCollectionRequest(collection_name=name)
        try:
            answer = await self._connection.call("DescribeCollection", request, tenant=tenant)
        except MilvusFailure as failure:
            if failure.is_missing_collection:
                return None
            raise
        # Asked for an alias, 2.3.5 repeats it here; the schema has the collection's own name.
        answer.collection_name = answer.schema.name
        return answer

    async def create(
        self, tenant: str, name: str, schema: bytes, properties: dict[str, str]
    ) -> bool:
        """Create a collection; False if another one has the name.

        Codes do not tell a duplicate from other failures, and some servers call a duplicate a
        success: what is stored under the name does.
        """
        failure: MilvusFailure | None = None
        try:
            await self._connection.call(
                "CreateCollection",
                milvus_pb2.CreateCollectionRequest(
                    collection_name=name,
                    schema=schema,
                    shards_num=1,
                    consistency_level=common_pb2.Bounded,
                    properties=key_values(properties),
                ),
                tenant=tenant,
                to_the_end=True,
            )
        except MilvusFailure as error:
            failure = error
        answer = await self.describe(tenant, name)
        if answer is None:
            raise failure or gone()
        return all(property_of(answer, key) == value for key, value in properties.items())

    async def drop(self, tenant: str, name: str) -> None:
        """Drop a collection by its own name; nothing happens if it is gone, or an alias."""
        answer = await self.describe(tenant, name)
        if answer is None or answer.collection_name != name:
            return
        request = milvus_pb2.DropCollectionRequest(collection_name=name)
        try:
            await self._connection.call("DropCollection", request, tenant=tenant, to_the_end=True)
        except MilvusFailure as failure:
            if not failure.is_missing_collection:
                raise

    async def create_alias(self, tenant: str, alias: str, storage: str) -> bool:
        """Create an alias; False if there is one that points elsewhere."""
        request = milvus_pb2.CreateAliasRequest(collection_name=storage, alias=alias)
        try:
            await self._connection.call("CreateAlias", request, tenant=tenant, to_the_end=True)
        except MilvusFailure:
            answer = await self.describe(tenant, alias)
            if answer is None:
                raise
            return str(answer.collection_name) == storage
        return True

    async def alter_alias(self, tenant: str, alias: str, storage: str) -> bool:
        """Point an alias elsewhere in one step; False if there is no such alias."""
        request = milvus_pb2.AlterAliasRequest(collection_name=storage, alias=alias)
        try:
            await self._connection.call("AlterAlias", request, tenant=tenant, to_the_end=True)
        except MilvusFailure:
            if await self.describe(tenant, alias) is None:
                return False
            raise
        return True

    async def drop_alias(self, tenant: str, alias: str) -> None:
        """Drop an alias; nothing happens if it is gone."""
        request = milvus_pb2.DropAliasRequest(alias=alias)
        try:
            await self._connection.call("DropAlias", request, tenant=tenant, to_the_end=True)
        except MilvusFailure:
            if await self.describe(tenant, alias) is not None:
                raise


def owner_of(answer: Description | None) -> str | None:
    """Return the id of the collection that a physical one belongs to, or None."""
    name = parse_physical(str(answer.collection_name)) if answer is not None else None
    return name.collection_id if name is not None else None


def property_of(answer: Description | None, key: str) -> str | None:
    """Return a property of what was described, or None."""
    if answer is None:
        return None
    return next((str(each.value) for each in answer.properties if each.key == key), None)
