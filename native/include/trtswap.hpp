// trtswap for C++17: trtswap.h with handles that close themselves, and errors that are thrown.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "trtswap.h"

namespace trtswap {

class Error : public std::runtime_error {
   public:
    Error(trtswap_status status, const char* message) : std::runtime_error(message), status(status) {}
    const trtswap_status status;
};

inline void check(trtswap_status status) {
    if (status != TRTSWAP_OK) throw Error(status, trtswap_last_error());
}

// Frames in memory of the caller's, on the host until memory says otherwise; strides of 0 are rows without gaps.
struct Image : trtswap_image {
    Image(int32_t width, int32_t height, void* first, void* second = nullptr, void* third = nullptr)
        : trtswap_image{sizeof(trtswap_image), width, height, {first, second, third}, {0, 0, 0}, TRTSWAP_HOST} {}
};

using Face = trtswap_face;

class Person {
   public:
    explicit Person(trtswap_person* handle) : handle_(handle, trtswap_person_close) {}
    const trtswap_person* get() const { return handle_.get(); }
    float similarity(const Person& other) const {
        float cosine = 0;
        check(trtswap_person_similarity(get(), other.get(), &cosine));
        return cosine;
    }

   private:
    std::shared_ptr<trtswap_person> handle_;
};

struct Options {
    std::vector<std::string> providers = {"cpu"};  // in order of preference
    int threads = 0;                               // 0: ONNX Runtime's choice
    trtswap_log log = nullptr;
    trtswap_progress progress = nullptr;
    void* user = nullptr;
    int device = 0;               // which GPU
    void* cuda_stream = nullptr;  // a cudaStream_t on which all work is queued; see trtswap.h
};

struct StreamOptions {
    std::vector<Person> sources, references;  // whoever looks like a reference gets its source; none: all get the first
    float steadiness = -1, min_face = -1, similarity = -2;
    int hold = -1;
};

class Stream {
   public:
    explicit Stream(trtswap_stream* handle, size_t slots) : handle_(handle, trtswap_stream_close), slots_(slots) {}

    // The next frame; output may be the input. Returns the faces that are shown.
    std::vector<Face> swap(const trtswap_image& input, const trtswap_image& output) {
        std::vector<Face> faces(slots_);
        size_t count = 0;
        check(trtswap_stream_swap(handle_.get(), &input, &output, faces.data(), &count));
        faces.resize(count);
        return faces;
    }
    void cut() { check(trtswap_stream_cut(handle_.get())); }

   private:
    std::shared_ptr<trtswap_stream> handle_;
    size_t slots_;
};

// A folder that `trtswap embed` has written. May be used by several threads.
class Graphs {
   public:
    explicit Graphs(const std::string& folder, const Options& options = {}) {
        std::vector<const char*> names;
        for (const std::string& name : options.providers) names.push_back(name.c_str());
        const trtswap_options given{sizeof(trtswap_options), names.data(),   names.size(),
                                    options.threads,         options.log,    options.progress,
                                    options.user,            options.device, options.cuda_stream};
        trtswap_graphs* handle = nullptr;
        check(trtswap_open(TRTSWAP_ABI, folder.c_str(), &given, &handle));
        handle_ = {handle, trtswap_close};
    }

    trtswap_description describe() const {
        trtswap_description description{};
        description.struct_size = sizeof(description);
        check(trtswap_describe(handle_.get(), &description));
        return description;
    }

    std::vector<Face> find(const trtswap_image& frame) {
        std::vector<Face> faces(static_cast<size_t>(describe().slots));
        size_t count = 0;
        check(trtswap_find(handle_.get(), &frame, faces.data(), faces.size(), &count));
        faces.resize(count);
        return faces;
    }

    // Of pictures, RGB of 3 bytes a pixel, of any size.
    Person person(const std::vector<Image>& pictures) {
        const std::vector<trtswap_image> plain(pictures.begin(), pictures.end());
        trtswap_person* person = nullptr;
        check(trtswap_person_of_pictures(handle_.get(), plain.data(), plain.size(), &person));
        return Person(person);
    }

    Person person(const trtswap_image& frame, const Face& face) {
        trtswap_person* person = nullptr;
        check(trtswap_person_of_face(handle_.get(), &frame, &face, &person));
        return Person(person);
    }

    // Gives every face the same person. output may be the input.
    void swap(const trtswap_image& input, const trtswap_image& output, const std::vector<Face>& faces,
              const Person& person) {
        const std::vector<const trtswap_person*> persons(faces.size(), person.get());
        check(trtswap_swap(handle_.get(), &input, &output, faces.data(), persons.data(), nullptr, faces.size()));
    }

    Stream stream(const StreamOptions& options) {
        std::vector<const trtswap_person*> sources, references;
        for (const Person& person : options.sources) sources.push_back(person.get());
        for (const Person& person : options.references) references.push_back(person.get());
        if (!references.empty() && references.size() != sources.size())
            throw Error(TRTSWAP_ARGUMENT, "StreamOptions: expected as many references as sources, or none");
        const trtswap_stream_options given{sizeof(trtswap_stream_options),
                                           sources.data(),
                                           references.empty() ? nullptr : references.data(),
                                           sources.size(),
                                           options.steadiness,
                                           options.min_face,
                                           options.similarity,
                                           options.hold};
        trtswap_stream* stream = nullptr;
        check(trtswap_stream_open(handle_.get(), &given, &stream));
        return Stream(stream, static_cast<size_t>(describe().slots));
    }

    void cancel() { check(trtswap_cancel(handle_.get())); }

   private:
    std::shared_ptr<trtswap_graphs> handle_;
};

}  // namespace trtswap
