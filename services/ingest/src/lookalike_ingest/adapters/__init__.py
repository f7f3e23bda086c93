"""The only modules that import SQLAlchemy, DBOS and generated stubs of other services."""
