#include "person.h"

#include <algorithm>
#include <cmath>

namespace trtswap {
namespace {

using Vector = std::array<double, 3>;

// Points of the face mesh (trtswap/faces/pose.py).
constexpr int kRightCorner = 33, kLeftCorner = 263, kTop = 10, kChin = 152;
constexpr double kClearly = 6.0;  // degrees by which another source has to be nearer (trtswap/faces/wanted.py)

Vector between(const trtswap_face& face, int from, int to) {
    Vector made;
    for (size_t i = 0; i < 3; ++i) made[i] = static_cast<double>(face.points[to][i]) - face.points[from][i];
    return made;
}

void normalise(std::vector<float>& latent) {
    double sum = 0;
    for (const float value : latent) sum += static_cast<double>(value) * value;
    const auto norm = static_cast<float>(std::max(std::sqrt(sum), 1e-12));
    for (float& value : latent) value /= norm;
}

void add(std::vector<float>& sum, const std::vector<float>& other) {
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
}

}  // namespace

std::array<float, 2> turns_of(const trtswap_face& face) {
    const Vector across = between(face, kRightCorner, kLeftCorner), down = between(face, kTop, kChin);
    const Vector behind = {across[1] * down[2] - across[2] * down[1], across[2] * down[0] - across[0] * down[2],
                           across[0] * down[1] - across[1] * down[0]};
    const double degrees = 180 / std::acos(-1.0);
    return {static_cast<float>(degrees * std::atan2(-behind[0], behind[2])),
            static_cast<float>(degrees * std::atan2(behind[1], std::hypot(behind[0], behind[2])))};
}

int Person::nearest(const trtswap_face& face, int so_far) const {
    if (sources.size() == 1 || !(face.fit > 0)) return std::max(so_far, 0);
    const auto turned = turns_of(face);
    std::vector<double> apart;
    for (const auto& own : turns) apart.push_back(std::hypot(own[0] - turned[0], own[1] - turned[1]));
    const auto best = static_cast<int>(std::min_element(apart.begin(), apart.end()) - apart.begin());
    return so_far < 0 || apart[so_far] - apart[best] > kClearly ? best : so_far;
}

Person Person::of(const std::vector<Person>& pictures, const std::string& average) {
    Person all = pictures.front();
    if (pictures.size() == 1) return all;
    for (size_t i = 1; i < pictures.size(); ++i) {
        add(all.latent, pictures[i].latent);
        if (average != "nearest") {
            add(all.sources.front(), pictures[i].sources.front());
            continue;
        }
        all.sources.push_back(pictures[i].sources.front());
        all.turns.push_back(pictures[i].turns.front());
    }
    normalise(all.latent);
    if (average == "unit") normalise(all.sources.front());
    if (average == "mean")
        for (float& value : all.sources.front()) value /= static_cast<float>(pictures.size());
    return all;
}

}  // namespace trtswap
