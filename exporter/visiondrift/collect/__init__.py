"""Cameras in: frames from where they are, of which some are kept, to a folder or to a running exporter."""
