"""How each kind of item becomes parts, one file each."""
