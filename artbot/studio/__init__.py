"""Where candidates are made: which generator, which seeds, which pixels."""
