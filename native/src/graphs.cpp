#include "graphs.h"

#include <onnxruntime_session_options_config_keys.h>

#include <filesystem>
#include <tuple>

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

void append(Ort::SessionOptions& session, const std::string& provider) {
    if (provider == "CPUExecutionProvider") return;
    if (provider == "CUDAExecutionProvider") {
        session.AppendExecutionProvider_CUDA(OrtCUDAProviderOptions{});
    } else if (provider == "TensorrtExecutionProvider") {
        session.AppendExecutionProvider_TensorRT(OrtTensorRTProviderOptions{});
    } else if (provider == "OpenVINOExecutionProvider") {
        session.AppendExecutionProvider("OpenVINO", {});
    } else {
        session.AppendExecutionProvider(provider, {});
    }
}

}  // namespace

View View::floats(std::vector<float>& values, std::vector<int64_t> shape) {
    return {values.data(), values.size() * sizeof(float), std::move(shape), false};
}

View View::octets(void* data, std::vector<int64_t> shape) {
    size_t bytes = 1;
    for (const int64_t dim : shape) bytes *= static_cast<size_t>(dim);
    return {data, bytes, std::move(shape), true};
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

void Graphs::cancel() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Running* call : running_) {
        call->stopped = true;
        call->options.SetTerminate();
    }
}

void Graphs::run(std::optional<Ort::Session>& session, const Graph& graph, const Views& inputs, const Views& outputs) {
    static const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const auto value = [](const View& view) {
        return Ort::Value::CreateTensor(memory, view.data, view.bytes, view.shape.data(), view.shape.size(),
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
    }
    Running call(*this);
    try {
        session->Run(call.options, names.data(), given.data(), given.size(), made.data(), wanted.data(), wanted.size());
    } catch (const Ort::Exception& error) {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (call.stopped) fail(TRTSWAP_CANCELLED, "the call was cancelled");
        fail(TRTSWAP_RUNTIME, "ONNX Runtime: ", error.what());
    }
}

}  // namespace trtswap
