"""The graph ``occlude`` that comes with trtswap: what lies in front of a face.

A small network trained on rendered heads with drawn hands and things in front of them; it has seen no photograph.
:mod:`.scenes` makes what it learns from, :mod:`.train` trains it, :mod:`.pack` writes the graph.
"""
