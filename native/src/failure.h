// Errors inside the library: thrown anywhere, and turned into a status at its border.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

#include "trtswap.h"

namespace trtswap {

class Failure : public std::runtime_error {
   public:
    Failure(trtswap_status status, const std::string& message) : std::runtime_error(message), status(status) {}
    const trtswap_status status;
};

template <typename... Parts>
[[noreturn]] void fail(trtswap_status status, const Parts&... parts) {
    std::ostringstream text;
    (text << ... << parts);
    throw Failure(status, text.str());
}

template <typename... Parts>
void expect(bool condition, const Parts&... parts) {
    if (!condition) fail(TRTSWAP_ARGUMENT, parts...);
}

}  // namespace trtswap
