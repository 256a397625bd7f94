// The same face over time, without looking ahead: steadier landmarks, short misses filled.
#pragma once

#include <cstdint>
#include <vector>

#include "faces.h"

namespace trtswap {

struct Track {
    int64_t number;
    trtswap_face shown;     // steadied
    trtswap_face seen;      // as it was found last
    int missed = 0;         // frames since
    float speed[2] = {};    // of the whole face, pixels a frame
    int64_t frames = 0;     // in which it was seen
};

class Tracker {
   public:
    // steadiness: 0..1; hold: frames that a face may be missed in.
    Tracker(float steadiness, int hold) : steadiness_(steadiness), hold_(hold) {}

    // Faces of the next frame in, tracks that are to be shown out.
    const std::vector<Track>& next(const Faces& found);
    void cut() { tracks_.clear(); }

   private:
    void steady(Track& track, const trtswap_face& found) const;

    float steadiness_;
    int hold_;
    int64_t numbers_ = 0;
    std::vector<Track> tracks_;
};

}  // namespace trtswap
