// The three graphs in ONNX Runtime.
#pragma once

#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "description.h"

namespace trtswap {

// A tensor in memory of the caller's.
struct View {
    void* data = nullptr;
    size_t bytes = 0;
    std::vector<int64_t> shape;
    bool is_bytes = false;
    trtswap_memory memory = TRTSWAP_HOST;

    static View floats(std::vector<float>& values, std::vector<int64_t> shape);
    static View octets(void* data, std::vector<int64_t> shape, trtswap_memory memory);
};
// Memory for a tensor, of the host or the GPU.
using Block = std::unique_ptr<void, std::function<void(void*)>>;
using Views = std::map<std::string, View>;

class Graphs {
   public:
    Graphs(const std::string& folder, const trtswap_options* options);

    const Description about;

    // Runs a graph; inputs that it does not take are ignored, outputs that nobody wants are not kept. Any thread.
    void find(const Views& inputs, const Views& outputs) { run(find_, about.find, inputs, outputs); }
    void identify(const Views& inputs, const Views& outputs) { run(identify_, about.identify, inputs, outputs); }
    void swap(const Views& inputs, const Views& outputs) { run(swap_, about.swap, inputs, outputs); }

    void cancel();

    Block allocate(size_t bytes, trtswap_memory where);
    void* stream() const { return options_.cuda_stream; }
    bool on_gpu() const { return gpu_.has_value(); }
    // Before frames on the GPU are read, and after they were written: without a stream of the caller's the host waits.
    void settle(trtswap_memory memory) const;

    const std::string& provider() const { return provider_; }

   private:
    struct Running;

    std::string open();
    Ort::Session session(const Graph& graph, const std::string& provider);
    void append(Ort::SessionOptions& session, const std::string& provider) const;
    void run(std::optional<Ort::Session>& session, const Graph& graph, const Views& inputs, const Views& outputs);

    trtswap_options options_{};
    std::optional<Ort::Env> env_;
    std::optional<Ort::Session> find_, identify_, swap_;
    std::optional<Ort::MemoryInfo> gpu_;  // where a GPU's provider was taken
    std::optional<Ort::Allocator> gpu_memory_;
    std::mutex mutex_;
    std::set<Running*> running_;
    std::string provider_;
};

}  // namespace trtswap
