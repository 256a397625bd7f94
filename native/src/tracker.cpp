#include "tracker.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace trtswap {
namespace {

// A face is the same as before if its landmarks moved by less than this share of its size (trtswap/faces/track.py); what
// lies nearer to where it is expected than this share of the distance between its eyes is mostly noise: with steadiness
// 0.65 second differences of landmarks are 0.55 of what they were in the demo clip, at a lag of 0.1 frames, and 0.53 of
// a speaker's who is almost still.
constexpr float kMostMove = 0.5F, kHeld = 0.025F;

float move(const trtswap_face& one, const trtswap_face& other) {
    float sum = 0;
    for (int i = 0; i < 5; ++i)
        sum += std::hypot(one.landmarks[i][0] - other.landmarks[i][0], one.landmarks[i][1] - other.landmarks[i][1]);
    return sum / 5 / std::max(1e-3F, std::min(side_of(one), side_of(other)));
}

void move_by(trtswap_face& face, const float (&speed)[2]) {
    for (int i = 0; i < 4; ++i) face.box[i] += speed[i % 2];
    for (auto& point : face.landmarks)
        for (int i = 0; i < 2; ++i) point[i] += speed[i];
    for (auto& point : face.points)
        for (int i = 0; i < 2 && face.fit > 0; ++i) point[i] += speed[i];
}

void blend(float* shown, const float* found, size_t count, float gain) {
    for (size_t i = 0; i < count; ++i) shown[i] += gain * (found[i] - shown[i]);
}

}  // namespace

// An alpha-beta filter of the whole face: it is expected to go on as it goes. What is found elsewhere is taken as far as
// it is further away than noise reaches, since whatever waits for a face that moves lags behind.
void Tracker::steady(Track& track, const trtswap_face& found) const {
    trtswap_face shown = track.shown;
    move_by(shown, track.speed);
    float x = 0, y = 0;
    for (int i = 0; i < 5; ++i) {
        x += (found.landmarks[i][0] - shown.landmarks[i][0]) / 5;
        y += (found.landmarks[i][1] - shown.landmarks[i][1]) / 5;
    }
    const float eyes = std::hypot(found.landmarks[1][0] - found.landmarks[0][0],
                                  found.landmarks[1][1] - found.landmarks[0][1]);
    const float away = x * x + y * y, noise = std::max(1e-12F, kHeld * kHeld * eyes * eyes);
    const float least = 1 - steadiness_, gain = least + (1 - least) * away / (away + noise);
    const float pull = gain * gain / (2 - gain);  // Benedict and Bordner, 1962
    track.speed[0] += pull * x;
    track.speed[1] += pull * y;
    blend(shown.box, found.box, 4, gain);
    blend(&shown.landmarks[0][0], &found.landmarks[0][0], 10, gain);
    const bool measured = shown.fit > 0 && found.fit > 0;
    blend(&shown.points[0][0], &found.points[0][0], 3 * TRTSWAP_POINTS, measured ? gain : 1);
    shown.score = found.score;
    shown.side = found.side;
    shown.fit = found.fit;
    track.shown = shown;
}

const std::vector<Track>& Tracker::next(const Faces& found) {
    std::vector<std::tuple<float, size_t, size_t>> pairs;
    for (size_t t = 0; t < tracks_.size(); ++t)
        for (size_t f = 0; f < found.size(); ++f)
            if (const float moved = move(tracks_[t].seen, found[f]); moved < kMostMove) pairs.emplace_back(moved, t, f);
    std::sort(pairs.begin(), pairs.end());
    std::vector<bool> known(tracks_.size()), taken(found.size());
    for (const auto& [moved, t, f] : pairs) {
        if (known[t] || taken[f]) continue;
        known[t] = taken[f] = true;
        Track& track = tracks_[t];
        steady(track, found[f]);
        track.seen = found[f];
        track.missed = 0;
        ++track.frames;
    }
    for (size_t t = 0; t < known.size(); ++t)
        if (!known[t]) ++tracks_[t].missed;
    tracks_.erase(std::remove_if(tracks_.begin(), tracks_.end(), [&](const Track& t) { return t.missed > hold_; }),
                  tracks_.end());
    for (size_t f = 0; f < found.size(); ++f) {
        if (taken[f]) continue;
        Track track{numbers_++, found[f], found[f], 0, {}, 1};
        track.shown.track = track.number;
        tracks_.push_back(track);
    }
    return tracks_;
}

}  // namespace trtswap
