"""What a model pack is: its files, its graphs, and what each kind of graph takes and gives."""
