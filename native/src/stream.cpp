#include "stream.h"

#include <algorithm>
#include <cmath>

namespace trtswap {
namespace {

constexpr int kFirstLooks = 5, kLookEvery = 25;  // frames of a track in which it is compared with the references
constexpr double kMargin = 0.1;  // by which the best reference has to lead (trtswap/faces/cast.py)
constexpr float kStays = 0.8F;   // of the least size, to which a face that is swapped may shrink (faces/small.py)

template <typename Value>
void forget_others(std::map<int64_t, Value>& known, const std::vector<Track>& tracks) {
    for (auto entry = known.begin(); entry != known.end();) {
        const bool alive = std::any_of(tracks.begin(), tracks.end(),
                                       [&](const Track& track) { return track.number == entry->first; });
        entry = alive ? std::next(entry) : known.erase(entry);
    }
}

}  // namespace

Stream::Stream(std::shared_ptr<Graphs> graphs, Casting casting, float steadiness, int hold)
    : graphs_(std::move(graphs)), casting_(std::move(casting)), tracker_(steadiness, hold) {}

void Stream::cut() {
    const std::lock_guard<std::mutex> lock(mutex_);
    tracker_.cut();
    looks_.clear();
    shown_.clear();
    large_.clear();
}

Faces Stream::track(const Faces& found) {
    const std::lock_guard<std::mutex> lock(mutex_);
    Faces shown;
    for (const Track& track : tracker_.next(found)) shown.push_back(track.shown);
    return shown;
}

Faces Stream::swap(const trtswap_image& input, const trtswap_image& output) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const std::vector<Track>& tracks = tracker_.next(find(*graphs_, input));
    const auto slots = static_cast<size_t>(graphs_->about.faces);
    Faces shown;
    std::vector<const std::vector<float>*> sources;
    std::set<int64_t> large;
    for (const Track& track : tracks) {
        if (shown.size() == slots) break;
        const float least = casting_.min_face * (large_.count(track.number) != 0 ? kStays : 1.0F);
        const bool enough = side_of(track.shown) >= least;
        if (enough) large.insert(track.number);
        shown.push_back(track.shown);
        shown.back().side += static_cast<float>(graphs_->about.step);  // steadied, it may lie a little off
        const Person* person = enough ? chosen(track, input) : nullptr;
        sources.push_back(person == nullptr ? nullptr : &source_of(*person, track));
    }
    large_ = std::move(large);
    forget_others(looks_, tracks);
    forget_others(shown_, tracks);
    std::vector<Part> parts;
    for (size_t i = 0; i < shown.size(); ++i) parts.push_back({&shown[i], sources[i], 1.0F});
    trtswap::swap(*graphs_, input, output, parts);
    return shown;
}

const Person* Stream::chosen(const Track& track, const trtswap_image& frame) {
    if (casting_.references.empty()) return casting_.sources.empty() ? nullptr : casting_.sources.front().get();
    Looks& looks = looks_[track.number];
    const bool due = looks.count < kFirstLooks || track.frames - looks.last >= kLookEvery;
    if (track.missed == 0 && due) look(looks, track, frame);
    return looks.chosen < 0 ? nullptr : casting_.sources[static_cast<size_t>(looks.chosen)].get();
}

const std::vector<float>& Stream::source_of(const Person& person, const Track& track) {
    auto& [who, which] = shown_[track.number];
    which = person.nearest(track.shown, who == &person ? which : -1);
    who = &person;
    return person.sources[which];
}

void Stream::look(Looks& looks, const Track& track, const trtswap_image& frame) {
    const Person here = person_of_face(*graphs_, frame, track.seen);
    looks.sums.resize(casting_.references.size());
    ++looks.count;
    looks.last = track.frames;
    double best = -2, next = -2;
    size_t leader = 0;
    for (size_t i = 0; i < looks.sums.size(); ++i) {
        looks.sums[i] += cosine(here.latent, casting_.references[i]->latent);
        const double mean = looks.sums[i] / looks.count;
        if (mean > best) {
            if (i != 0 && casting_.sources[i] != casting_.sources[leader]) next = best;
            best = mean;
            leader = i;
        } else if (casting_.sources[i] != casting_.sources[leader]) {
            next = std::max(next, mean);
        }
    }
    const bool sure = best >= casting_.similarity && best - next >= kMargin;
    // Who has been chosen stays so until another is sure, or nobody is like enough, so that nothing flickers.
    if (sure) looks.chosen = static_cast<int>(leader);
    if (best < casting_.similarity) looks.chosen = -1;
}

}  // namespace trtswap
