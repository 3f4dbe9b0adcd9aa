"""VisionDrift: notices when a vision model's world changes, says what, where and how sure it is."""

__version__ = "0.1.0"
