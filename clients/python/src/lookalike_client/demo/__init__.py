"""A demonstration that anybody can run: real photos, edited copies, and whether they are found."""
