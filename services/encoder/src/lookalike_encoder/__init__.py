"""The encoder service: raw content in, vectors out. Knows no storage, no jobs and no Milvus."""
