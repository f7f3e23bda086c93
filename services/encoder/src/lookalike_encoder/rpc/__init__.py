"""Proto in, proto out."""
