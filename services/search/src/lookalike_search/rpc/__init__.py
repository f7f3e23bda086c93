"""The services: protobuf in, one command, protobuf out."""
