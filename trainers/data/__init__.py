"""From a folder somebody filled to an array the loop can index."""
