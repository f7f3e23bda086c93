"""How texts are read and cut, whatever kind of document they come from."""
