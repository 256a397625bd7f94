// The border of the library: handles, arguments, and errors as a status.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <unordered_map>

#include "faces.h"
#include "failure.h"
#include "frames.h"
#include "stream.h"

namespace {

using namespace trtswap;

std::string& last_error() {
    thread_local std::string message;
    return message;
}

template <typename Body>
trtswap_status guarded(Body&& body) noexcept {
    try {
        last_error().clear();
        body();
        return TRTSWAP_OK;
    } catch (const Failure& failure) {
        try {
            last_error() = failure.what();
        } catch (...) {
        }
        return failure.status;
    } catch (const std::bad_alloc&) {
        return TRTSWAP_MEMORY;
    } catch (const std::exception& error) {
        try {
            last_error() = error.what();
        } catch (...) {
        }
        return TRTSWAP_RUNTIME;
    } catch (...) {
        return TRTSWAP_RUNTIME;
    }
}

// What is open: a handle that is not in here is no handle, and what a call works on stays until it ends.
template <typename Handle, typename Value>
class Registry {
   public:
    Handle* add(std::shared_ptr<Value> value) {
        const std::lock_guard<std::mutex> lock(mutex_);
        auto* handle = reinterpret_cast<Handle*>(value.get());
        open_[handle] = std::move(value);
        return handle;
    }
    std::shared_ptr<Value> get(const Handle* handle, const char* name) {
        expect(handle != nullptr, name, " is NULL");
        const std::lock_guard<std::mutex> lock(mutex_);
        const auto found = open_.find(const_cast<Handle*>(handle));
        expect(found != open_.end(), name, " is closed, or was never open");
        return found->second;
    }
    std::shared_ptr<Value> take(Handle* handle, const char* name) {
        auto value = get(handle, name);
        const std::lock_guard<std::mutex> lock(mutex_);
        expect(open_.erase(handle) == 1, name, " is closed, or was never open");
        return value;
    }

   private:
    std::mutex mutex_;
    std::unordered_map<Handle*, std::shared_ptr<Value>> open_;
};

// Never destroyed: other threads may call while the process ends.
auto& all_graphs() {
    static auto& registry = *new Registry<trtswap_graphs, Graphs>;
    return registry;
}
auto& all_persons() {
    static auto& registry = *new Registry<trtswap_person, Person>;
    return registry;
}
auto& all_streams() {
    static auto& registry = *new Registry<trtswap_stream, Stream>;
    return registry;
}

template <typename Struct>
void check_struct(const Struct* given, const char* name) {
    expect(given != nullptr, name, " is NULL");
    expect(given->struct_size >= sizeof(Struct), name, ".struct_size is ", given->struct_size, ", expected ",
           sizeof(Struct));
}

void check_pair(const trtswap_image* input, const trtswap_image* output, const Graphs& graphs) {
    check(input, graphs, "input");
    check(output, graphs, "output");
    expect(input->width == output->width && input->height == output->height, "output is ", output->width, "x",
           output->height, ", but input is ", input->width, "x", input->height);
}

}  // namespace

extern "C" {

uint32_t trtswap_abi(void) { return TRTSWAP_ABI; }

const char* trtswap_last_error(void) { return last_error().c_str(); }

trtswap_status trtswap_open(uint32_t abi, const char* folder, const trtswap_options* options, trtswap_graphs** graphs) {
    return guarded([&] {
        expect(abi == TRTSWAP_ABI, "abi is ", abi, ", but this library has ", TRTSWAP_ABI,
               ": the header and the library are of different versions");
        expect(folder != nullptr, "folder is NULL");
        expect(graphs != nullptr, "graphs is NULL");
        *graphs = nullptr;
        if (options != nullptr) {
            check_struct(options, "options");
            expect(options->threads >= 0, "options.threads is ", options->threads, ", expected 0 or more");
            expect(options->device >= 0, "options.device is ", options->device, ", expected 0 or more");
        }
        *graphs = all_graphs().add(std::make_shared<Graphs>(folder, options));
    });
}

trtswap_status trtswap_close(trtswap_graphs* graphs) {
    return guarded([&] { all_graphs().take(graphs, "graphs"); });
}

trtswap_status trtswap_describe(const trtswap_graphs* graphs, trtswap_description* description) {
    return guarded([&] {
        const auto opened = all_graphs().get(graphs, "graphs");
        check_struct(description, "description");
        const Description& about = opened->about;
        description->format = about.format;
        description->width = about.width;
        description->height = about.height;
        description->slots = about.faces;
        description->window = about.window;
        description->min_face = about.min_face;
        description->similarity = about.similarity;
        description->provider = opened->provider().c_str();
        description->pack = about.pack.c_str();
        description->licence = about.licence.c_str();
    });
}

trtswap_status trtswap_cancel(trtswap_graphs* graphs) {
    return guarded([&] { all_graphs().get(graphs, "graphs")->cancel(); });
}

trtswap_status trtswap_find(trtswap_graphs* graphs, const trtswap_image* frame, trtswap_face* faces, size_t capacity,
                            size_t* count) {
    return guarded([&] {
        const auto opened = all_graphs().get(graphs, "graphs");
        check(frame, *opened, "frame");
        expect(faces != nullptr || capacity == 0, "faces is NULL");
        expect(count != nullptr, "count is NULL");
        const Faces found = find(*opened, *frame);
        *count = std::min(capacity, found.size());
        std::copy_n(found.begin(), *count, faces);
    });
}

trtswap_status trtswap_person_of_pictures(trtswap_graphs* graphs, const trtswap_image* pictures, size_t count,
                                          trtswap_person** person) {
    return guarded([&] {
        const auto opened = all_graphs().get(graphs, "graphs");
        expect(person != nullptr, "person is NULL");
        *person = nullptr;
        *person = all_persons().add(std::make_shared<Person>(person_of_pictures(*opened, pictures, count)));
    });
}

trtswap_status trtswap_person_of_face(trtswap_graphs* graphs, const trtswap_image* frame, const trtswap_face* face,
                                      trtswap_person** person) {
    return guarded([&] {
        const auto opened = all_graphs().get(graphs, "graphs");
        check(frame, *opened, "frame");
        expect(face != nullptr, "face is NULL");
        expect(person != nullptr, "person is NULL");
        *person = nullptr;
        *person = all_persons().add(std::make_shared<Person>(person_of_face(*opened, *frame, *face)));
    });
}

trtswap_status trtswap_person_similarity(const trtswap_person* one, const trtswap_person* other, float* cosine_) {
    return guarded([&] {
        expect(cosine_ != nullptr, "cosine is NULL");
        *cosine_ = cosine(all_persons().get(one, "one")->latent, all_persons().get(other, "other")->latent);
    });
}

trtswap_status trtswap_person_close(trtswap_person* person) {
    return guarded([&] { all_persons().take(person, "person"); });
}

trtswap_status trtswap_swap(trtswap_graphs* graphs, const trtswap_image* input, const trtswap_image* output,
                            const trtswap_face* faces, const trtswap_person* const* persons, const float* strengths,
                            size_t count) {
    return guarded([&] {
        const auto opened = all_graphs().get(graphs, "graphs");
        check_pair(input, output, *opened);
        expect(count <= static_cast<size_t>(opened->about.faces), "count is ", count, ", but the graphs have ",
               opened->about.faces, " slots: embed with --faces ", count);
        expect(count == 0 || faces != nullptr, "faces is NULL");
        expect(count == 0 || persons != nullptr, "persons is NULL");
        std::vector<std::shared_ptr<Person>> kept(count);
        std::vector<Part> parts;
        for (size_t i = 0; i < count; ++i) {
            if (persons[i] == nullptr) continue;
            kept[i] = all_persons().get(persons[i], "persons");
            const float strength = strengths == nullptr ? 1.0F : strengths[i];
            expect(std::isfinite(strength), "strengths[", i, "] is no number");
            parts.push_back({&faces[i], &kept[i]->sources[kept[i]->nearest(faces[i])], strength});
        }
        swap(*opened, *input, *output, parts);
    });
}

trtswap_status trtswap_stream_open(trtswap_graphs* graphs, const trtswap_stream_options* options,
                                   trtswap_stream** stream) {
    return guarded([&] {
        const auto opened = all_graphs().get(graphs, "graphs");
        check_struct(options, "options");
        expect(stream != nullptr, "stream is NULL");
        *stream = nullptr;
        expect(options->source_count == 0 || options->sources != nullptr, "options.sources is NULL");
        expect(options->steadiness < 1.0F || options->steadiness == 1.0F, "options.steadiness is ",
               options->steadiness, ", expected up to 1");
        Casting casting;
        casting.min_face = options->min_face < 0 ? opened->about.min_face : options->min_face;
        casting.similarity = options->similarity < -1 ? opened->about.similarity : options->similarity;
        for (size_t i = 0; i < options->source_count; ++i) {
            casting.sources.push_back(all_persons().get(options->sources[i], "options.sources"));
            if (options->references != nullptr)
                casting.references.push_back(all_persons().get(options->references[i], "options.references"));
        }
        expect(casting.references.empty() || casting.similarity >= -1,
               "options.references are given, but these graphs cannot tell people apart: say from which similarity on "
               "two faces are the same person");
        const float steadiness = options->steadiness < 0 ? 0.75F : options->steadiness;
        const int hold = options->hold < 0 ? 3 : options->hold;
        *stream = all_streams().add(std::make_shared<Stream>(opened, std::move(casting), steadiness, hold));
    });
}

trtswap_status trtswap_stream_close(trtswap_stream* stream) {
    return guarded([&] { all_streams().take(stream, "stream"); });
}

trtswap_status trtswap_stream_swap(trtswap_stream* stream, const trtswap_image* input, const trtswap_image* output,
                                   trtswap_face* faces, size_t* count) {
    return guarded([&] {
        const auto opened = all_streams().get(stream, "stream");
        check_pair(input, output, opened->graphs());
        const Faces shown = opened->swap(*input, *output);
        if (faces != nullptr) std::copy(shown.begin(), shown.end(), faces);
        if (count != nullptr) *count = shown.size();
    });
}

trtswap_status trtswap_stream_track(trtswap_stream* stream, trtswap_face* faces, size_t capacity, size_t* count) {
    return guarded([&] {
        const auto opened = all_streams().get(stream, "stream");
        expect(count != nullptr, "count is NULL");
        expect(faces != nullptr || (*count == 0 && capacity == 0), "faces is NULL");
        expect(*count <= capacity, "count is ", *count, ", but capacity is ", capacity);
        const Faces shown = opened->track(Faces(faces, faces + *count));
        *count = std::min(capacity, shown.size());
        std::copy_n(shown.begin(), *count, faces);
    });
}

trtswap_status trtswap_stream_cut(trtswap_stream* stream) {
    return guarded([&] { all_streams().get(stream, "stream")->cut(); });
}

}  // extern "C"
