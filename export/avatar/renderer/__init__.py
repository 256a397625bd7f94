"""Parametric 3-D heads, rendered on any torch device, with every truth that a face swap can be measured against.

Lengths are centimetres in the head's frame: the origin lies between the ears at the height of the eyes, x points
to the person's left (the right of the picture), y up, z out of the face. Angles are radians unless a name says
degrees.

    scene = sample_scene([7, 8])                               # .scene
    renderer = Renderer(Noise(device="cuda"), piece=32)        # .render, .noise
    target = renderer.render(scene)                            # images, boxes, landmarks, labels
    truth = renderer.render(scene.with_identity(sample_identity([70, 80]), keep_hair=True))

A head is a field of signed distances (skull, nose, eyes, mouth, hair, props, body; joined in ``field``), met by rays
(``march``), painted (``skin``, ``surfaces``) and lit (``light``).
"""
