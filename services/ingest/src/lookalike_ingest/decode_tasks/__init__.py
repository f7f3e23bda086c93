"""What worker processes can do with bytes nobody should trust, one task a module.

A task is a function `run(file, arguments, limits)` that reads a seekable file and yields pairs of
facts and bytes; `None` says that it is alive, with nothing to hand over. Modules import everything
they need when they are imported: a running task can open nothing.
"""
