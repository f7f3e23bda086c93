"""Messages of the API into the domain's objects, and back; pure."""
