"""Durable ingestion jobs, and the store of the originals' bytes."""
