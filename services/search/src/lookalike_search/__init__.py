"""Collections, entities and similarity search; the only service that speaks to Milvus."""
