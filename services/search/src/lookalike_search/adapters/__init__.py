"""The only modules that speak to other programs; they translate what those answer."""
