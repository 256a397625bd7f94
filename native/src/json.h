// JSON as embed.json needs it: read whole, then asked for values by name.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace trtswap {

class Json {
   public:
    enum class Kind { null, boolean, number, text, array, object };

    static Json parse(const std::string& text);

    Kind kind = Kind::null;
    double number = 0;
    std::string text;
    std::vector<Json> items;
    std::map<std::string, Json> members;

    // The member of that name; throws where there is none, or it is of another kind.
    const Json& at(const std::string& name) const;
    const Json& at(const std::string& name, Kind wanted) const;
    bool is_null() const { return kind == Kind::null; }
};

}  // namespace trtswap
