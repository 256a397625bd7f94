// Frames of the caller's as tensors: checked, and copied where their rows are not side by side.
#pragma once

#include <string>
#include <vector>

#include "description.h"
#include "graphs.h"

namespace trtswap {

struct Plane {
    const char* name;
    size_t row, rows;            // bytes of a row, and how many
    std::vector<int64_t> shape;  // of the tensor
};

// The planes of frames of a size.
std::vector<Plane> planes_of(trtswap_format format, int32_t width, int32_t height);

// Checks an image of the graphs' format; throws a Failure that names it.
void check(const trtswap_image* image, const Graphs& graphs, const char* name);

// A frame that graphs read.
class Input {
   public:
    Input(const trtswap_image& image, Graphs& graphs);
    const Views& views() const { return views_; }

   private:
    std::vector<Block> copies_;
    Views views_;
};

// A frame that a graph writes: memory of its own, which is copied to the caller's when all is done.
class Output {
   public:
    // For an image, into which copy() puts it.
    Output(const trtswap_image& image, Graphs& graphs);
    const Views& views() const { return views_; }
    void copy() const;

   private:
    const trtswap_image image_;
    const Graphs& graphs_;
    std::vector<Block> memory_;
    Views views_;
};

void copy(const trtswap_image& from, const trtswap_image& to, const Graphs& graphs);

// A picture of 3 bytes a pixel as a frame of the graphs' format.
class Picture {
   public:
    // share: of the frame's size that the picture fills at most, or of its own where frames have any size.
    Picture(const trtswap_image& rgb, const Description& about, float share);
    trtswap_image image();

   private:
    int32_t width_, height_;
    std::vector<std::vector<uint8_t>> planes_;
};

}  // namespace trtswap
