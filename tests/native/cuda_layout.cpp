// What the library knows of CUDA's driver, against its header; it only has to compile.
#include <cuda.h>

#include "../../native/src/cuda.cpp"

using namespace trtswap;

static_assert(sizeof(Copy2D) == sizeof(CUDA_MEMCPY2D));
static_assert(offsetof(Copy2D, from) + offsetof(Side, y) == offsetof(CUDA_MEMCPY2D, srcY));
static_assert(offsetof(Copy2D, from) + offsetof(Side, type) == offsetof(CUDA_MEMCPY2D, srcMemoryType));
static_assert(offsetof(Copy2D, from) + offsetof(Side, host) == offsetof(CUDA_MEMCPY2D, srcHost));
static_assert(offsetof(Copy2D, from) + offsetof(Side, device) == offsetof(CUDA_MEMCPY2D, srcDevice));
static_assert(offsetof(Copy2D, from) + offsetof(Side, pitch) == offsetof(CUDA_MEMCPY2D, srcPitch));
static_assert(offsetof(Copy2D, to) + offsetof(Side, type) == offsetof(CUDA_MEMCPY2D, dstMemoryType));
static_assert(offsetof(Copy2D, to) + offsetof(Side, host) == offsetof(CUDA_MEMCPY2D, dstHost));
static_assert(offsetof(Copy2D, to) + offsetof(Side, device) == offsetof(CUDA_MEMCPY2D, dstDevice));
static_assert(offsetof(Copy2D, to) + offsetof(Side, pitch) == offsetof(CUDA_MEMCPY2D, dstPitch));
static_assert(offsetof(Copy2D, width) == offsetof(CUDA_MEMCPY2D, WidthInBytes));
static_assert(offsetof(Copy2D, height) == offsetof(CUDA_MEMCPY2D, Height));
static_assert(sizeof(MemoryType) == sizeof(CUmemorytype));
static_assert(static_cast<int>(kHost) == CU_MEMORYTYPE_HOST && static_cast<int>(kDevice) == CU_MEMORYTYPE_DEVICE);
static_assert(sizeof(CUresult) == sizeof(int) && CUDA_SUCCESS == 0);
