# find_package(trtswap) out of these sources: builds the library along with the project that wants it.
if(NOT TARGET trtswap::trtswap)
  add_subdirectory("${CMAKE_CURRENT_LIST_DIR}/.." "${CMAKE_BINARY_DIR}/trtswap" EXCLUDE_FROM_ALL)
endif()
