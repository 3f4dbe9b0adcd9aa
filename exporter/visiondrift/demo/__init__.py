"""The demo: a small world of cameras and digits, a real classifier, and the story that is played with them."""
