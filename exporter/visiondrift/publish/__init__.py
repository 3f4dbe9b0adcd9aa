"""What goes out: metrics drawn from one snapshot, and Evidently reports as the evidence behind a verdict."""
