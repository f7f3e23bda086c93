"""What is served over HTTP: the API itself, its documentation, health; and the edge around all."""
