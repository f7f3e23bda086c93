"""What the gateway needs of the world: gRPC channels, an HTTP server, the pages' scripts."""
