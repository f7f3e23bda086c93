"""Why a model cannot be installed or used; for the person at the command and for the log."""

from __future__ import annotations


class InstallError(Exception):
    """A model could not be fetched, converted or checked."""


class ModelFilesError(Exception):
    """The files of a model are missing or not what the manifest says."""
