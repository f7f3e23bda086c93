"""One module per proto service: proto in, proto out."""
