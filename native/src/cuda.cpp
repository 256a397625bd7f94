#include "cuda.h"

#include <dlfcn.h>

#include <cstdint>
#include <cstring>

#include "failure.h"

namespace trtswap {
namespace {

// CUDA_MEMCPY2D_v2 and CUmemorytype of the driver's cuda.h; tests/native/test_cuda.py holds them to it.
enum MemoryType : unsigned { kHost = 1, kDevice = 2 };
struct Side {
    size_t x = 0, y = 0;
    MemoryType type = kHost;
    void* host = nullptr;
    unsigned long long device = 0;
    void* array = nullptr;
    size_t pitch = 0;
};
struct Copy2D {
    Side from, to;
    size_t width = 0, height = 0;
};

struct Driver {
    int (*copy)(const Copy2D*, void*) = nullptr;
    int (*wait)(void*) = nullptr;
    int (*name)(int, const char**) = nullptr;

    template <typename Function>
    static void look_up(void* library, const char* symbol, Function& function) {
        function = reinterpret_cast<Function>(dlsym(library, symbol));
        if (function == nullptr) fail(TRTSWAP_RUNTIME, "CUDA's driver has no ", symbol, ": it is too old");
    }

    Driver() {
        void* library = dlopen("libcuda.so.1", RTLD_NOW);  // stays for as long as the process
        if (library == nullptr) fail(TRTSWAP_RUNTIME, "CUDA's driver is not here: ", dlerror());
        look_up(library, "cuMemcpy2DAsync_v2", copy);
        look_up(library, "cuStreamSynchronize", wait);
        look_up(library, "cuGetErrorName", name);
    }

    void check(int result, const char* what) const {
        const char* error = nullptr;
        if (result != 0 && name(result, &error) != 0) error = "an unknown error";
        if (result != 0)
            fail(TRTSWAP_RUNTIME, "CUDA ", what, ": ", error, ". The GPU's context has to be current in this thread");
    }
};

const Driver& driver() {
    static const Driver loaded;
    return loaded;
}

Side side(const Rows& rows) {
    Side made;
    made.pitch = rows.stride;
    made.type = rows.memory == TRTSWAP_CUDA ? kDevice : kHost;
    if (made.type == kDevice) made.device = reinterpret_cast<uintptr_t>(rows.data);
    else made.host = rows.data;
    return made;
}

}  // namespace

void copy_rows(const Rows& from, const Rows& to, size_t bytes, size_t rows, void* stream) {
    if (from.memory == TRTSWAP_HOST && to.memory == TRTSWAP_HOST) {
        for (size_t row = 0; row < rows; ++row)
            std::memcpy(static_cast<char*>(to.data) + row * to.stride,
                        static_cast<const char*>(from.data) + row * from.stride, bytes);
        return;
    }
    const Copy2D copy{side(from), side(to), bytes, rows};
    driver().check(driver().copy(&copy, stream), "cannot copy a frame");
}

void wait(void* stream) { driver().check(driver().wait(stream), "fails"); }

}  // namespace trtswap
