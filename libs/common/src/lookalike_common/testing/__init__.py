"""What tests of all services share: running servers, free ports, waiting without sleeping."""

from lookalike_common.testing._servers import free_port, loopback, running, server_settings
from lookalike_common.testing._waiting import assert_eventually

__all__ = ["assert_eventually", "free_port", "loopback", "running", "server_settings"]
