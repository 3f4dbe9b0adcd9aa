"""How the embedding cloud moved: axes, moments, a bank of statistics, new sub-populations, and one p of all of it."""
