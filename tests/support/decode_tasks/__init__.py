"""Tasks that behave badly, for tests of the processes that run them."""
