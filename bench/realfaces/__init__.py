"""How good is a swap of real faces, where there is no truth to compare with? What packages alone can measure."""
