"""One batch of items on its way: the steps wired together, chunk by chunk."""
