"""Protobuf to and from the domain's own types. Pure: nothing here waits for anything."""
