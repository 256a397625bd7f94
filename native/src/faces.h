// Faces found, known and swapped by the graphs.
#pragma once

#include <memory>
#include <vector>

#include "graphs.h"
#include "person.h"

namespace trtswap {

using Faces = std::vector<trtswap_face>;

// Side of the square of the box's area, pixels.
float side_of(const trtswap_face& face);

Faces find(Graphs& graphs, const trtswap_image& frame);

Person person_of_face(Graphs& graphs, const trtswap_image& frame, const trtswap_face& face);
Person person_of_pictures(Graphs& graphs, const trtswap_image* pictures, size_t count);

float cosine(const std::vector<float>& one, const std::vector<float>& other);

// A face, what of a person it becomes, and how far; nothing leaves it alone.
struct Part {
    const trtswap_face* face;
    const std::vector<float>* source;
    float strength;
};

// output may be the input.
void swap(Graphs& graphs, const trtswap_image& input, const trtswap_image& output, const std::vector<Part>& parts);

}  // namespace trtswap
