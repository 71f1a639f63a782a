"""How approved works reach the world: once per channel, whatever fails on the way."""
