#include "json.h"

#include <cstdlib>

#include "failure.h"

namespace trtswap {
namespace {

constexpr int kDeepest = 32;

class Reader {
   public:
    explicit Reader(const std::string& text) : text_(text) {}

    Json whole() {
        Json value = read(0);
        skip();
        if (at_ != text_.size()) wrong("more than one value");
        return value;
    }

   private:
    [[noreturn]] void wrong(const char* what) const {
        fail(TRTSWAP_FOLDER, "embed.json is no JSON: ", what, " at byte ", at_);
    }
    void skip() {
        while (at_ < text_.size() && std::string(" \t\r\n").find(text_[at_]) != std::string::npos) ++at_;
    }
    char peek() {
        skip();
        if (at_ == text_.size()) wrong("it ends");
        return text_[at_];
    }
    void take(char expected) {
        if (peek() != expected) wrong("an unexpected character");
        ++at_;
    }
    bool word(const char* name) {
        const std::string wanted = name;
        if (text_.compare(at_, wanted.size(), wanted) != 0) return false;
        at_ += wanted.size();
        return true;
    }

    Json read(int depth) {
        if (depth > kDeepest) wrong("too deep");
        Json value;
        const char first = peek();
        if (first == '{') return object(depth);
        if (first == '[') return array(depth);
        if (first == '"') {
            value.kind = Json::Kind::text;
            value.text = text();
        } else if (word("true") || word("false")) {
            value.kind = Json::Kind::boolean;
            value.number = text_[at_ - 1] == 'e' && text_[at_ - 2] == 'u';
        } else if (!word("null")) {
            value.kind = Json::Kind::number;
            char* end = nullptr;
            value.number = std::strtod(text_.c_str() + at_, &end);
            if (end == text_.c_str() + at_) wrong("an unexpected character");
            at_ = static_cast<size_t>(end - text_.c_str());
        }
        return value;
    }

    // Parts with commas between them.
    template <typename Part>
    void parts(char open, char close, Part&& part) {
        take(open);
        for (bool first = true; peek() != close; first = false) {
            if (!first) take(',');
            part();
        }
        ++at_;
    }

    Json object(int depth) {
        Json value;
        value.kind = Json::Kind::object;
        parts('{', '}', [&] {
            if (peek() != '"') wrong("a name was expected");
            const std::string name = text();
            take(':');
            value.members[name] = read(depth + 1);
        });
        return value;
    }

    Json array(int depth) {
        Json value;
        value.kind = Json::Kind::array;
        parts('[', ']', [&] { value.items.push_back(read(depth + 1)); });
        return value;
    }

    std::string text() {
        std::string value;
        for (take('"');;) {
            if (at_ >= text_.size()) wrong("a text without end");
            const char c = text_[at_++];
            if (c == '"') return value;
            value += c == '\\' ? escaped() : std::string(1, c);
        }
    }

    std::string escaped() {
        if (at_ >= text_.size()) wrong("a text without end");
        const char c = text_[at_++];
        const std::string from = "nrtbf", to = "\n\r\t\b\f";
        if (const size_t i = from.find(c); i != std::string::npos) return std::string(1, to[i]);
        if (c != 'u') return std::string(1, c);
        if (at_ + 4 > text_.size()) wrong("a text without end");
        const unsigned long code = std::strtoul(text_.substr(at_, 4).c_str(), nullptr, 16);
        at_ += 4;
        std::string out;  // as UTF-8; halves of a pair are kept as they are
        if (code < 0x80) {
            out += static_cast<char>(code);
        } else if (code < 0x800) {
            out += static_cast<char>(0xC0 | (code >> 6));
            out += static_cast<char>(0x80 | (code & 0x3F));
        } else {
            out += static_cast<char>(0xE0 | (code >> 12));
            out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
            out += static_cast<char>(0x80 | (code & 0x3F));
        }
        return out;
    }

    const std::string& text_;
    size_t at_ = 0;
};

}  // namespace

Json Json::parse(const std::string& text) { return Reader(text).whole(); }

const Json& Json::at(const std::string& name) const {
    const auto found = members.find(name);
    if (found == members.end()) fail(TRTSWAP_FOLDER, "embed.json has no \"", name, "\" where it is expected");
    return found->second;
}

const Json& Json::at(const std::string& name, Kind wanted) const {
    const Json& value = at(name);
    if (value.kind != wanted) fail(TRTSWAP_FOLDER, "embed.json: \"", name, "\" is of another kind than expected");
    return value;
}

}  // namespace trtswap
