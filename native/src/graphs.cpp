#include "graphs.h"

#include <onnxruntime_session_options_config_keys.h>

#include <filesystem>
#include <tuple>

#include "cuda.h"
#include "failure.h"

namespace trtswap {
namespace {

void ORT_API_CALL silent(void*, OrtLoggingLevel, const char*, const char*, const char*, const char*) {}

void ORT_API_CALL told(void* options, OrtLoggingLevel level, const char*, const char*, const char*,
                       const char* message) {
    const auto* to = static_cast<const trtswap_options*>(options);
    to->log(to->user, static_cast<int>(level), message);
}

const OrtApi* interface_of_runtime() {
    static const OrtApi* const api = [] {
        const OrtApi* found = OrtGetApiBase()->GetApi(ORT_API_VERSION);
        if (found != nullptr) Ort::InitApi(found);
        return found;
    }();
    if (api == nullptr)
        fail(TRTSWAP_RUNTIME, "ONNX Runtime ", OrtGetApiBase()->GetVersionString(),
             " is older than the one that this library was built for: its interface is older than ", ORT_API_VERSION);
    return api;
}

// ONNX Runtime's names of providers.
std::string known_as(const std::string& name) {
    static const std::map<std::string, std::string> names = {
        {"cuda", "CUDAExecutionProvider"},         {"tensorrt", "TensorrtExecutionProvider"},
        {"openvino", "OpenVINOExecutionProvider"}, {"nv_tensorrt_rtx", "NvTensorRTRTXExecutionProvider"},
        {"cpu", "CPUExecutionProvider"},
    };
    const auto found = names.find(name);
    return found == names.end() ? name : found->second;
}

bool is_of_gpu(const std::string& provider) {
    return provider == "CUDAExecutionProvider" || provider == "TensorrtExecutionProvider" ||
           provider == "NvTensorRTRTXExecutionProvider";
}

}  // namespace

View View::floats(std::vector<float>& values, std::vector<int64_t> shape) {
    return {values.data(), values.size() * sizeof(float), std::move(shape)};
}

View View::octets(void* data, std::vector<int64_t> shape, trtswap_memory memory) {
    size_t bytes = 1;
    for (const int64_t dim : shape) bytes *= static_cast<size_t>(dim);
    return {data, bytes, std::move(shape), true, memory};
}

// A call that can be stopped.
struct Graphs::Running {
    Running(Graphs& graphs) : graphs(graphs) {
        const std::lock_guard<std::mutex> lock(graphs.mutex_);
        graphs.running_.insert(this);
    }
    ~Running() {
        const std::lock_guard<std::mutex> lock(graphs.mutex_);
        graphs.running_.erase(this);
    }
    Graphs& graphs;
    Ort::RunOptions options;
    bool stopped = false;
};

Graphs::Graphs(const std::string& folder, const trtswap_options* options)
    : about(Description::of_folder(folder)) {
    if (options != nullptr) options_ = *options;
    provider_ = open();
}

std::string Graphs::open() {
    interface_of_runtime();
    env_.emplace(ORT_LOGGING_LEVEL_WARNING, "trtswap", silent, nullptr);
    std::vector<std::string> wanted;
    for (size_t i = 0; i < options_.provider_count; ++i) {
        expect(options_.providers != nullptr && options_.providers[i] != nullptr, "providers[", i, "] is NULL");
        wanted.push_back(options_.providers[i]);
    }
    if (wanted.empty()) wanted = {"cpu"};
    std::string why;
    for (const std::string& name : wanted) {
        try {
            size_t done = 0;
            for (auto [slot, graph, what] : {std::tuple{&find_, &about.find, "find"},
                                             {&identify_, &about.identify, "identify"},
                                             {&swap_, &about.swap, "swap"}}) {
                slot->emplace(session(*graph, name));
                if (options_.progress != nullptr && options_.progress(options_.user, ++done, 3, what) != 0)
                    fail(TRTSWAP_CANCELLED, "opening was cancelled");
            }
            if (is_of_gpu(known_as(name))) {
                gpu_.emplace("Cuda", OrtDeviceAllocator, options_.device, OrtMemTypeDefault);
                gpu_memory_.emplace(*swap_, *gpu_);
            }
            return name;
        } catch (const Ort::Exception& error) {
            why += (why.empty() ? "" : "; ") + name + ": " + error.what();
        }
    }
    fail(TRTSWAP_RUNTIME, "no provider opens the graphs: ", why);
}

Ort::Session Graphs::session(const Graph& graph, const std::string& name) {
    Ort::SessionOptions session;
    session.SetLogSeverityLevel(ORT_LOGGING_LEVEL_WARNING);
    // Threads that wait in a loop are fast in benchmarks, and take a core from whoever embeds this.
    session.AddConfigEntry(kOrtSessionOptionsConfigAllowIntraOpSpinning, "0");
    if (options_.threads > 0) session.SetIntraOpNumThreads(options_.threads);
    if (options_.log != nullptr) Ort::ThrowOnError(Ort::GetApi().SetUserLoggingFunction(session, told, &options_));
    append(session, known_as(name));
    return Ort::Session(*env_, std::filesystem::path(graph.path).c_str(), session);
}

void Graphs::append(Ort::SessionOptions& session, const std::string& provider) const {
    const std::string device = std::to_string(options_.device);
    if (provider == "CPUExecutionProvider") return;
    if (provider == "CUDAExecutionProvider") {
        OrtCUDAProviderOptionsV2* made = nullptr;
        const OrtApi& api = Ort::GetApi();
        Ort::ThrowOnError(api.CreateCUDAProviderOptions(&made));
        const std::unique_ptr<OrtCUDAProviderOptionsV2, decltype(api.ReleaseCUDAProviderOptions)> kept(
            made, api.ReleaseCUDAProviderOptions);
        const char *keys[] = {"device_id", "use_tf32"}, *values[] = {device.c_str(), "0"};
        Ort::ThrowOnError(api.UpdateCUDAProviderOptions(made, keys, values, 2));
        if (stream() != nullptr)
            Ort::ThrowOnError(api.UpdateCUDAProviderOptionsWithValue(made, "user_compute_stream", stream()));
        session.AppendExecutionProvider_CUDA_V2(*made);
    } else if (provider == "TensorrtExecutionProvider") {
        OrtTensorRTProviderOptions made{};
        made.device_id = options_.device;
        made.has_user_compute_stream = stream() != nullptr;
        made.user_compute_stream = stream();
        session.AppendExecutionProvider_TensorRT(made);
    } else if (provider == "NvTensorRTRTXExecutionProvider") {
        std::unordered_map<std::string, std::string> given = {{"device_id", device}};
        if (stream() != nullptr) {
            given["has_user_compute_stream"] = "1";
            given["user_compute_stream"] = std::to_string(reinterpret_cast<uintptr_t>(stream()));
        }
        session.AppendExecutionProvider(provider, given);
    } else {
        session.AppendExecutionProvider(provider == "OpenVINOExecutionProvider" ? "OpenVINO" : provider, {});
    }
}

Block Graphs::allocate(size_t bytes, trtswap_memory where) {
    if (where == TRTSWAP_HOST) return {new char[bytes], [](void* data) { delete[] static_cast<char*>(data); }};
    Block block(gpu_memory_->Alloc(bytes), [this](void* data) { gpu_memory_->Free(data); });
    if (block == nullptr) fail(TRTSWAP_MEMORY, "the GPU has no ", bytes, " bytes for a frame");
    return block;
}

void Graphs::settle(trtswap_memory memory) const {
    if (memory == TRTSWAP_CUDA && stream() == nullptr) wait(nullptr);
}

void Graphs::cancel() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Running* call : running_) {
        call->stopped = true;
        call->options.SetTerminate();
    }
}

void Graphs::run(std::optional<Ort::Session>& session, const Graph& graph, const Views& inputs, const Views& outputs) {
    static const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    bool queued = false;
    const auto value = [this](const View& view) {
        return Ort::Value::CreateTensor(view.memory == TRTSWAP_CUDA ? *gpu_ : memory, view.data, view.bytes,
                                        view.shape.data(), view.shape.size(),
                                        view.is_bytes ? ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8
                                                      : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
    };
    std::vector<const char*> names, made;
    std::vector<Ort::Value> given, wanted;
    for (const Tensor& tensor : graph.inputs) {
        const auto found = inputs.find(tensor.name);
        if (found == inputs.end()) fail(TRTSWAP_FOLDER, graph.path, " wants \"", tensor.name, "\", which nobody knows");
        names.push_back(tensor.name.c_str());
        given.push_back(value(found->second));
    }
    for (const Tensor& tensor : graph.outputs) {
        const auto found = outputs.find(tensor.name);
        if (found == outputs.end()) continue;
        made.push_back(tensor.name.c_str());
        wanted.push_back(value(found->second));
        queued = stream() != nullptr && found->second.memory == TRTSWAP_CUDA;
    }
    Running call(*this);
    // What only goes on on the caller's stream is not waited for.
    if (queued) call.options.AddConfigEntry("disable_synchronize_execution_providers", "1");
    try {
        session->Run(call.options, names.data(), given.data(), given.size(), made.data(), wanted.data(), wanted.size());
    } catch (const Ort::Exception& error) {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (call.stopped) fail(TRTSWAP_CANCELLED, "the call was cancelled");
        fail(TRTSWAP_RUNTIME, "ONNX Runtime: ", error.what());
    }
}

}  // namespace trtswap
