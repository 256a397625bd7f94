// What embed.json says of a folder of graphs. Sizes, formats and thresholds come from here, never from code.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trtswap.h"

namespace trtswap {

struct Tensor {
    std::string name;
    bool bytes = false;               // uint8; else float32
    std::vector<int64_t> shape;       // -1: dynamic
    std::vector<std::string> dims;    // names of the dynamic ones
};

struct Graph {
    std::string path;
    std::vector<Tensor> inputs, outputs;
};

struct Description {
    trtswap_format format = TRTSWAP_RGB;
    int32_t width = 0, height = 0;  // 0: any
    int32_t faces = 1, window = 0, step = 8;
    float min_face = 0, similarity = -2;
    std::string source;   // the tensor that says who is shown: latents or codes
    int64_t length = 0;   // of it
    int64_t latent = 0;   // of the latents that tell people apart
    std::string average;  // how several pictures become one person
    float codes[3][3] = {}, offset[3] = {};  // planes of R'G'B' 0..1: code values, where frames are planes
    std::string pack, licence;
    Graph find, identify, swap;

    // Reads folder/embed.json, and looks whether the graphs are whole.
    static Description of_folder(const std::string& folder);
    size_t planes() const { return format == TRTSWAP_I420 ? 3 : format == TRTSWAP_NV12 ? 2 : 1; }
};

}  // namespace trtswap
