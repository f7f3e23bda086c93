"""What callers can ask for, one module for each service; they know neither gRPC nor Milvus."""
