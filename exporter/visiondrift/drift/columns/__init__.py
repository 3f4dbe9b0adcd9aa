"""How far single columns moved: distances, tests and shifts of all columns at once, and the mix of classes."""
