"""`lookalike-encoder models init`: from an exported model to a manifest that has proved itself.

What an export says about itself is read, what it does not say is asked for, and nothing is placed
until the encoder made of it gives the vectors that the caller's own library gave.
"""
