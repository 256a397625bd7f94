// A GPU for libtrtswap where there is none: ONNX Runtime with a CUDA provider, and CUDA's driver.
//
// The real ONNX Runtime does the work, on the CPU. Memory of the GPU is memory that nobody can touch but a run and the
// driver's copies, so that the process ends where the library takes it for the host's. What it asks for is noted.
#include <onnxruntime_c_api.h>
#include <sys/mman.h>

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>

#ifdef CUDA_DRIVER
#include <cuda.h>
#endif

extern "C" {
void* emulated_allocate(size_t bytes);
void emulated_free(void* data);
void emulated_open(int open);
int emulated_owns(const void* data, size_t bytes);
void emulated_note(const char* what);
}

#ifdef CUDA_DRIVER

namespace {

bool wrong(CUmemorytype type, const void* host, CUdeviceptr device, size_t bytes) {
    const void* data = type == CU_MEMORYTYPE_DEVICE ? reinterpret_cast<const void*>(device) : host;
    return (type == CU_MEMORYTYPE_DEVICE) != (emulated_owns(data, bytes) != 0);
}

}  // namespace

extern "C" {

CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D* c, CUstream stream) {
    const bool to = c->dstMemoryType == CU_MEMORYTYPE_DEVICE, from = c->srcMemoryType == CU_MEMORYTYPE_DEVICE;
    const size_t read = (c->Height - 1) * c->srcPitch + c->WidthInBytes;
    const size_t written = (c->Height - 1) * c->dstPitch + c->WidthInBytes;
    if (wrong(c->srcMemoryType, c->srcHost, c->srcDevice, read) ||
        wrong(c->dstMemoryType, c->dstHost, c->dstDevice, written))
        return CUDA_ERROR_INVALID_VALUE;
    const char* source = from ? reinterpret_cast<const char*>(c->srcDevice) : static_cast<const char*>(c->srcHost);
    char* target = to ? reinterpret_cast<char*>(c->dstDevice) : static_cast<char*>(c->dstHost);
    emulated_open(1);
    for (size_t row = 0; row < c->Height; ++row)
        std::memcpy(target + row * c->dstPitch, source + row * c->srcPitch, c->WidthInBytes);
    emulated_open(-1);
    emulated_note(("copy on " + std::to_string(reinterpret_cast<uintptr_t>(stream))).c_str());
    return std::getenv("EMULATED_FAULT") != nullptr ? CUDA_ERROR_INVALID_CONTEXT : CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream stream) {
    emulated_note(("wait for " + std::to_string(reinterpret_cast<uintptr_t>(stream))).c_str());
    return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult error, const char** name) {
    *name = error == CUDA_ERROR_INVALID_CONTEXT ? "CUDA_ERROR_INVALID_CONTEXT" : "CUDA_ERROR_INVALID_VALUE";
    return CUDA_SUCCESS;
}
}

#else

namespace {

std::mutex mutex;
std::map<const char*, size_t> memory;
std::set<const OrtMemoryInfo*> places;
std::string notes;
int opened = 0;
const OrtApi* real = nullptr;

void protect(const char* data, size_t bytes) {
    mprotect(const_cast<char*>(data), bytes, opened > 0 ? PROT_READ | PROT_WRITE : PROT_NONE);
}

OrtStatusPtr create_memory_info(const char* name, OrtAllocatorType type, int id, OrtMemType kind,
                                OrtMemoryInfo** out) NO_EXCEPTION {
    const bool ours = std::strcmp(name, "Cuda") == 0;
    if (ours) emulated_note(("memory of GPU " + std::to_string(id)).c_str());
    OrtStatusPtr status = real->CreateMemoryInfo(ours ? "Cpu" : name, type, ours ? 0 : id, kind, out);
    const std::lock_guard<std::mutex> lock(mutex);
    if (ours && status == nullptr) places.insert(*out);
    return status;
}

bool is_ours(const OrtMemoryInfo* info) {
    const std::lock_guard<std::mutex> lock(mutex);
    return places.count(info) != 0;
}

OrtStatusPtr create_tensor(const OrtMemoryInfo* info, void* data, size_t bytes, const int64_t* shape, size_t dims,
                           ONNXTensorElementDataType type, OrtValue** out) NO_EXCEPTION {
    if (is_ours(info) != (emulated_owns(data, bytes) != 0))
        return real->CreateStatus(ORT_INVALID_ARGUMENT, "a tensor is not where it is said to be");
    return real->CreateTensorWithDataAsOrtValue(info, data, bytes, shape, dims, type, out);
}

OrtAllocator gpu_allocator = {ORT_API_VERSION, [](OrtAllocator*, size_t bytes) { return emulated_allocate(bytes); },
                              [](OrtAllocator*, void* data) { emulated_free(data); }, nullptr, nullptr};

OrtStatusPtr create_allocator(const OrtSession* session, const OrtMemoryInfo* info, OrtAllocator** out) NO_EXCEPTION {
    if (!is_ours(info)) return real->CreateAllocator(session, info, out);
    *out = &gpu_allocator;
    return nullptr;
}

void release_allocator(OrtAllocator* allocator) {
    if (allocator != &gpu_allocator) real->ReleaseAllocator(allocator);
}

OrtStatusPtr create_cuda(OrtCUDAProviderOptionsV2** out) NO_EXCEPTION {
    *out = reinterpret_cast<OrtCUDAProviderOptionsV2*>(&notes);
    return nullptr;
}

OrtStatusPtr update_cuda(OrtCUDAProviderOptionsV2*, const char* const* keys, const char* const* values,
                         size_t count) NO_EXCEPTION {
    for (size_t i = 0; i < count; ++i) emulated_note((std::string(keys[i]) + "=" + values[i]).c_str());
    return nullptr;
}

OrtStatusPtr update_cuda_value(OrtCUDAProviderOptionsV2*, const char* key, void* value) NO_EXCEPTION {
    emulated_note((std::string(key) + "=" + std::to_string(reinterpret_cast<uintptr_t>(value))).c_str());
    return nullptr;
}

OrtStatusPtr append_cuda(OrtSessionOptions*, const OrtCUDAProviderOptionsV2*) NO_EXCEPTION { return nullptr; }
void release_cuda(OrtCUDAProviderOptionsV2*) {}

OrtStatusPtr add_run_entry(OrtRunOptions* options, const char* key, const char* value) NO_EXCEPTION {
    emulated_note((std::string(key) + "=" + value).c_str());
    return real->AddRunConfigEntry(options, key, value);
}

OrtStatusPtr run(OrtSession* session, const OrtRunOptions* options, const char* const* names,
                 const OrtValue* const* inputs, size_t input_count, const char* const* made, size_t made_count,
                 OrtValue** outputs) NO_EXCEPTION {
    emulated_open(1);
    OrtStatusPtr status = real->Run(session, options, names, inputs, input_count, made, made_count, outputs);
    emulated_open(-1);
    emulated_note("run");
    return status;
}

const OrtApi* get_api(uint32_t version) NO_EXCEPTION {
    static OrtApi api = [version] {
        void* library = dlopen(std::getenv("EMULATED_ONNXRUNTIME"), RTLD_NOW | RTLD_LOCAL);
        const auto base = reinterpret_cast<const OrtApiBase* (*)()>(dlsym(library, "OrtGetApiBase"));
        real = base()->GetApi(version);
        OrtApi changed;
        std::memcpy(static_cast<void*>(&changed), real, sizeof(OrtApi));
        changed.CreateMemoryInfo = create_memory_info;
        changed.CreateTensorWithDataAsOrtValue = create_tensor;
        changed.CreateAllocator = create_allocator;
        changed.ReleaseAllocator = release_allocator;
        changed.CreateCUDAProviderOptions = create_cuda;
        changed.UpdateCUDAProviderOptions = update_cuda;
        changed.UpdateCUDAProviderOptionsWithValue = update_cuda_value;
        changed.ReleaseCUDAProviderOptions = release_cuda;
        changed.SessionOptionsAppendExecutionProvider_CUDA_V2 = append_cuda;
        changed.AddRunConfigEntry = add_run_entry;
        changed.Run = run;
        return changed;
    }();
    return &api;
}

}  // namespace

extern "C" {

const OrtApiBase* OrtGetApiBase() NO_EXCEPTION {
    static const OrtApiBase base = {get_api, []() NO_EXCEPTION { return "emulated"; }};
    return &base;
}

void* emulated_allocate(size_t bytes) {
    const size_t whole = (bytes + 4095) / 4096 * 4096;
    const std::lock_guard<std::mutex> lock(mutex);
    auto* data = static_cast<char*>(mmap(nullptr, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    memory[data] = whole;
    protect(data, whole);
    return data;
}

void emulated_free(void* data) {
    const std::lock_guard<std::mutex> lock(mutex);
    munmap(data, memory.at(static_cast<char*>(data)));
    memory.erase(static_cast<char*>(data));
}

void emulated_open(int change) {
    const std::lock_guard<std::mutex> lock(mutex);
    opened += change;
    for (const auto& [data, bytes] : memory) protect(data, bytes);
}

int emulated_owns(const void* data, size_t bytes) {
    const auto* first = static_cast<const char*>(data);
    const std::lock_guard<std::mutex> lock(mutex);
    const auto after = memory.upper_bound(first);
    if (after == memory.begin()) return 0;
    const auto range = std::prev(after);
    return first + bytes <= range->first + range->second ? 1 : 0;
}

size_t emulated_allocations() { return memory.size(); }

void emulated_note(const char* what) {
    const std::lock_guard<std::mutex> lock(mutex);
    notes += what + std::string("\n");
}

// What was noted since the last call.
const char* emulated_notes() {
    static std::string told;
    const std::lock_guard<std::mutex> lock(mutex);
    told.swap(notes);
    notes.clear();
    return told.c_str();
}
}

#endif
