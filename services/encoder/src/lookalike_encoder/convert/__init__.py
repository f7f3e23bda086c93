"""Between protobuf and the encoder's own types: pure functions, one file for each kind of call."""
