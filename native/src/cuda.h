// Memory of a GPU. CUDA's driver is looked for when a frame first lies there: the library is not linked with it.
#pragma once

#include <cstddef>

#include "trtswap.h"

namespace trtswap {

// Rows of a plane.
struct Rows {
    void* data;
    size_t stride;
    trtswap_memory memory;
};

// Copies rows of so many bytes: at once, or, where either side is on the GPU, as work of the stream.
void copy_rows(const Rows& from, const Rows& to, size_t bytes, size_t rows, void* stream);

// Waits for what is queued on a stream; nullptr is CUDA's default stream.
void wait(void* stream);

}  // namespace trtswap
