"""Runs the whole suite on one machine: which processes it has and how they are kept alive."""
