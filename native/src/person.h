// Who is shown in place of faces, or looked for among them.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "trtswap.h"

namespace trtswap {

struct Person {
    std::vector<float> latent;                // of unit length: by it people are told apart
    std::vector<std::vector<float>> sources;  // what the swap graph takes, several where the nearest is taken
    std::vector<std::array<float, 2>> turns;  // of the faces that these were made of: yaw and pitch, degrees

    // Which source is nearest to a face's pose: the one that it shows so far until another is clearly nearer; -1: none.
    int nearest(const trtswap_face& face, int so_far = -1) const;

    // One person of several, each of one picture; average: how, as embed.json has it.
    static Person of(const std::vector<Person>& pictures, const std::string& average);
};

// Yaw and pitch by the points, degrees.
std::array<float, 2> turns_of(const trtswap_face& face);

}  // namespace trtswap
