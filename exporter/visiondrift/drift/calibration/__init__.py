"""What a score is worth: blocks of the reference, nulls drawn from them, tails, and the budget of false pages."""
