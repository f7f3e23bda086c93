"""The kinds of encoders: one file each, found through the entry points `lookalike.encoders`."""
