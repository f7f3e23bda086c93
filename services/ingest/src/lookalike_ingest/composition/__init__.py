"""How `app.py` puts the service together, in parts; nothing else constructs anything."""
