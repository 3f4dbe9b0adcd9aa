"""What holds for every test."""

from hypothesis import settings

# An example takes as long as it takes on a busy machine: how long says nothing about the code.
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")
