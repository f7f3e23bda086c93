"""Which names members of archives may have, whatever the format of the archive."""

from lookalike_common.errors import LookalikeError, UnsafeArchiveError

_ARCHIVES = (".zip", ".tar", ".tgz", ".tzst", ".tbz2", ".txz")
_PACKINGS = (".gz", ".zst", ".bz2", ".xz")


def name_problem(name: str) -> LookalikeError | None:
    """Return why a member of this name is not read, or None."""
    parts = name.replace("\\", "/").split("/")
    drive = parts[0][1:2] == ":"
    if ".." in parts or parts[0] == "" or drive or "\0" in name:
        return UnsafeArchiveError("the name of this member points outside of the archive")
    if is_archive_name(name):
        return UnsafeArchiveError("archives in archives are not unpacked")
    return None


def is_archive_name(name: str) -> bool:
    """Tell whether a file of this name claims to hold other files."""
    low = name.lower()
    for packing in _PACKINGS:
        if low.endswith(".tar" + packing):
            return True
    return low.endswith(_ARCHIVES)
