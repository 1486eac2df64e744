"""Does the sandbox say what a plain interpreter says? On real programs, test by test."""
