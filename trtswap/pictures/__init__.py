"""Pictures: their files, whole, and arrays of them."""
