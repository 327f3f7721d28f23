"""How a file is shown without being run: what it is, and what is made of it for a page."""
