"""Why a window has drifted: named directions, how surely it moved along them, and when a cause may be named."""
