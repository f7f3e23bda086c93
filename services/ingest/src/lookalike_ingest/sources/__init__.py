"""Where items come from: files under configured roots, archives, bytes given in a request."""
