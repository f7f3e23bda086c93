"""The store on Milvus: Milvus Lite's server, a standalone server, a cluster, by URI.

It speaks protobuf to the server directly, over the stubs that pymilvus ships: asynchronous, one
path for all servers, and vectors go as one block of bytes.
"""

from lookalike_search.adapters.milvus.store import MilvusStore
from lookalike_search.adapters.milvus.target import TlsFiles

__all__ = ["MilvusStore", "TlsFiles"]
