"""HTTP and JSON for the other services, made from the same protos; a client of them, no more."""
