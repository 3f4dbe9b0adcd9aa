"""Why a window has drifted: along which known directions, by which slices and images, and when a cause may be named."""
