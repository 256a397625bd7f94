"""What happens on the aligned crops of faces, between the frame they are taken from and the frame they go back to."""
