"""Where a person chooses. Every face calls these same acts; all of them write the decision log."""
