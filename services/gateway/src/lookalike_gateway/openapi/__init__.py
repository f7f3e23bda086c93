"""The OpenAPI 3.1 document of the API, generated from the descriptor image with its comments."""

from lookalike_gateway.openapi.document import openapi_document

__all__ = ["openapi_document"]
