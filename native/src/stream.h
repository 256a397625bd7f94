// A live stream: frames in order, each face followed, steadied and given who it becomes.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "faces.h"
#include "tracker.h"

namespace trtswap {

struct Casting {
    std::vector<std::shared_ptr<const Person>> sources, references;
    float similarity = -2, min_face = 0;
};

class Stream {
   public:
    Stream(std::shared_ptr<Graphs> graphs, Casting casting, float steadiness, int hold);

    // The faces that are shown, tracked.
    Faces swap(const trtswap_image& input, const trtswap_image& output);
    Faces track(const Faces& found);
    const Graphs& graphs() const { return *graphs_; }
    void cut();

   private:
    struct Looks {
        std::vector<double> sums;
        int count = 0;
        int64_t last = 0;
        int chosen = -1;
    };

    const Person* chosen(const Track& track, const trtswap_image& frame);
    void look(Looks& looks, const Track& track, const trtswap_image& frame);
    const std::vector<float>& source_of(const Person& person, const Track& track);

    const std::shared_ptr<Graphs> graphs_;
    const Casting casting_;
    std::mutex mutex_;
    Tracker tracker_;
    std::map<int64_t, Looks> looks_;
    std::map<int64_t, std::pair<const Person*, int>> shown_;  // which source of whom, by track
    std::set<int64_t> large_;                                 // tracks that were large enough
};

}  // namespace trtswap
