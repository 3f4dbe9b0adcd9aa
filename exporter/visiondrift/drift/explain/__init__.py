"""Why a window differs, and which of its parts do."""
