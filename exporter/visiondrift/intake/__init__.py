"""What comes in: each event checked by itself, images decoded and embedded, and all of it committed in groups."""
