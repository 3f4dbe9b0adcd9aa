"""Is a camera well? What is wrong with the eye itself, which is not drift of what it sees."""
