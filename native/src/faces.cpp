#include "faces.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "failure.h"
#include "frames.h"

namespace trtswap {
namespace {

constexpr float kShares[] = {1.0F, 0.5F, 0.25F};  // of a frame: a face that fills a picture is found in a smaller copy
constexpr int32_t kSmallestWindow = 64;

// Slots of a frame: as many as the graph has, or as are wanted where it takes any number.
size_t slots_of(const Graph& graph, const char* tensor, const std::vector<Tensor>& tensors, size_t wanted) {
    for (const Tensor& found : tensors)
        if (found.name == tensor && found.shape.size() > 1)
            return found.shape[1] < 0 ? wanted : static_cast<size_t>(found.shape[1]);
    fail(TRTSWAP_FOLDER, graph.path, " has no \"", tensor, "\" with slots");
}

// What is said of faces: landmarks and points of each slot.
struct Measures {
    explicit Measures(size_t slots)
        : slots(slots), landmarks(slots * 10), points(slots * TRTSWAP_POINTS * 3), n(static_cast<int64_t>(slots)) {}
    void set(size_t slot, const trtswap_face& face) {
        std::memcpy(&landmarks[slot * 10], face.landmarks, sizeof(face.landmarks));
        if (face.fit > 0) std::memcpy(&points[slot * TRTSWAP_POINTS * 3], face.points, sizeof(face.points));
    }
    void to(Views& views) {
        views["landmarks"] = View::floats(landmarks, {1, n, 5, 2});
        views["points"] = View::floats(points, {1, n, TRTSWAP_POINTS, 3});
    }
    size_t slots;
    std::vector<float> landmarks, points;
    int64_t n;
};

void check_face(const trtswap_face& face, const char* name, size_t i) {
    for (const auto& point : face.landmarks)
        expect(std::isfinite(point[0]) && std::isfinite(point[1]), name, "[", i, "].landmarks are no numbers");
}

int32_t window_of(const Description& about, const trtswap_image& frame, const std::vector<Part>& parts) {
    float side = kSmallestWindow;
    for (const Part& part : parts) side = std::max(side, std::isfinite(part.face->side) ? part.face->side : 0.0F);
    const int32_t step = about.step, most = std::min(frame.width, frame.height) / step * step;
    return static_cast<int32_t>(std::min<double>(std::ceil(static_cast<double>(side) / step) * step, most));
}

}  // namespace

float side_of(const trtswap_face& face) {
    return std::sqrt(std::max(0.0F, face.box[2] - face.box[0]) * std::max(0.0F, face.box[3] - face.box[1]));
}

Faces find(Graphs& graphs, const trtswap_image& frame) {
    const Graph& graph = graphs.about.find;
    const size_t slots = slots_of(graph, "scores", graph.outputs, 1);
    const auto n = static_cast<int64_t>(slots);
    std::vector<float> boxes(slots * 4), scores(slots), sides(slots), fits(slots);
    Measures measures(slots);
    Views outputs = {{"boxes", View::floats(boxes, {1, n, 4})},
                     {"scores", View::floats(scores, {1, n})},
                     {"sides", View::floats(sides, {1, n})},
                     {"fits", View::floats(fits, {1, n})}};
    measures.to(outputs);
    const Input input(frame, graphs);
    graphs.find(input.views(), outputs);
    Faces faces;
    for (size_t i = 0; i < slots; ++i) {
        if (!(scores[i] > 0)) continue;
        trtswap_face face{};
        std::memcpy(face.box, &boxes[i * 4], sizeof(face.box));
        std::memcpy(face.landmarks, &measures.landmarks[i * 10], sizeof(face.landmarks));
        std::memcpy(face.points, &measures.points[i * TRTSWAP_POINTS * 3], sizeof(face.points));
        face.score = scores[i];
        face.side = sides[i];
        face.fit = fits[i];
        face.track = -1;
        faces.push_back(face);
    }
    return faces;
}

Person person_of_face(Graphs& graphs, const trtswap_image& frame, const trtswap_face& face) {
    check_face(face, "face", 0);
    const Description& about = graphs.about;
    const size_t slots = slots_of(about.identify, "landmarks", about.identify.inputs, 1);
    const auto n = static_cast<int64_t>(slots);
    Measures measures(slots);
    measures.set(0, face);
    const Input input(frame, graphs);
    Views inputs = input.views();
    measures.to(inputs);
    std::vector<float> latents(slots * about.latent), codes(about.source == "codes" ? slots * about.length : 0);
    Views outputs = {{"latents", View::floats(latents, {1, n, about.latent})}};
    if (!codes.empty()) outputs["codes"] = View::floats(codes, {1, n, about.length});
    graphs.identify(inputs, outputs);
    Person person;
    person.latent.assign(latents.begin(), latents.begin() + about.latent);
    person.sources = {codes.empty() ? person.latent : std::vector<float>(codes.begin(), codes.begin() + about.length)};
    person.turns = {turns_of(face)};
    return person;
}

Person person_of_pictures(Graphs& graphs, const trtswap_image* pictures, size_t count) {
    const std::string& average = graphs.about.average;
    expect(pictures != nullptr, "pictures is NULL");
    expect(count >= 1, "count is 0, expected 1 picture or more");
    expect(count == 1 || average != "none", "count is ", count,
           ", but these graphs take a source's picture itself, which cannot be averaged: give the best one");
    std::vector<Person> all;
    for (size_t i = 0; i < count; ++i) {
        for (const float share : kShares) {
            Picture picture(pictures[i], graphs.about, share);
            const trtswap_image frame = picture.image();
            const Faces faces = find(graphs, frame);
            if (faces.empty()) continue;
            if (average == "nearest" && !(faces.front().fit > 0))
                fail(TRTSWAP_NO_FACE, "pictures[", i, "] shows a face that is turned away too far to be measured");
            all.push_back(person_of_face(graphs, frame, faces.front()));
            break;
        }
        if (all.size() == i) fail(TRTSWAP_NO_FACE, "pictures[", i, "] shows no face");
    }
    return Person::of(all, average);
}

float cosine(const std::vector<float>& one, const std::vector<float>& other) {
    expect(one.size() == other.size(), "persons are of graphs with latents of ", one.size(), " and ", other.size(),
           " numbers");
    double sum = 0;
    for (size_t i = 0; i < one.size(); ++i) sum += static_cast<double>(one[i]) * other[i];
    return static_cast<float>(std::clamp(sum, -1.0, 1.0));
}

void swap(Graphs& graphs, const trtswap_image& input, const trtswap_image& output, const std::vector<Part>& all) {
    const Description& about = graphs.about;
    std::vector<Part> parts;
    for (const Part& part : all)
        if (part.source != nullptr && part.strength > 0) parts.push_back(part);
    if (parts.empty()) return copy(input, output, graphs);
    const size_t slots = slots_of(about.swap, "strengths", about.swap.inputs, parts.size());
    const auto n = static_cast<int64_t>(slots);
    Measures measures(slots);
    std::vector<float> strengths(slots), sources(slots * about.length);
    for (size_t i = 0; i < parts.size(); ++i) {
        check_face(*parts[i].face, "faces", i);
        const std::vector<float>& source = *parts[i].source;
        expect(source.size() == static_cast<size_t>(about.length), "persons[", i,
               "] was made with other graphs: it has ", source.size(), " numbers, expected ", about.length);
        measures.set(i, *parts[i].face);
        strengths[i] = std::min(parts[i].strength, 1.0F);
        std::copy(source.begin(), source.end(), sources.begin() + i * about.length);
    }
    const Input frame(input, graphs);
    Views inputs = frame.views();
    measures.to(inputs);
    inputs["strengths"] = View::floats(strengths, {1, n});
    inputs[about.source] = View::floats(sources, {1, n, about.length});
    std::vector<float> window(about.window == 0 ? window_of(about, input, parts) : 0);
    inputs["window"] = View::floats(window, {static_cast<int64_t>(window.size())});
    const Output made(output, graphs);
    graphs.swap(inputs, made.views());
    made.copy();
}

}  // namespace trtswap
