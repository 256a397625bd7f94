#include "description.h"

#include <filesystem>
#include <algorithm>
#include <fstream>
#include <iterator>

#include "failure.h"
#include "json.h"

namespace trtswap {
namespace {

constexpr int kFormat = 1;
constexpr double kLargest = 1 << 24;

int64_t whole(const Json& value, const char* what) {
    if (value.kind != Json::Kind::number || !(value.number >= 0 && value.number <= kLargest) ||
        value.number != static_cast<double>(static_cast<int64_t>(value.number)))
        fail(TRTSWAP_FOLDER, "embed.json: ", what, " is not a whole number that makes sense");
    return static_cast<int64_t>(value.number);
}

Tensor tensor(const Json& entry) {
    Tensor found;
    found.name = entry.at("name", Json::Kind::text).text;
    found.bytes = entry.at("type", Json::Kind::text).text == "uint8";
    for (const Json& dim : entry.at("shape", Json::Kind::array).items) {
        const bool named = dim.kind == Json::Kind::text;
        found.shape.push_back(named ? -1 : whole(dim, "a shape"));
        found.dims.push_back(named ? dim.text : "");
    }
    return found;
}

Graph graph(const Json& graphs, const char* name, const std::filesystem::path& folder) {
    const Json& entry = graphs.at(name, Json::Kind::object);
    const std::string file = entry.at("file", Json::Kind::text).text;
    if (std::filesystem::path(file).filename() != std::filesystem::path(file))
        fail(TRTSWAP_FOLDER, "embed.json: the file of graph ", name, " is not in the folder: ", file);
    Graph found;
    found.path = (folder / file).string();
    std::error_code error;
    const auto bytes = std::filesystem::file_size(found.path, error);
    if (error) fail(TRTSWAP_FOLDER, found.path, " cannot be read: ", error.message());
    if (static_cast<double>(bytes) != entry.at("bytes", Json::Kind::number).number)
        fail(TRTSWAP_FOLDER, found.path, " has ", bytes, " bytes, embed.json says ", entry.at("bytes").number,
             ": it is damaged. Write it again with trtswap embed");
    for (const Json& item : entry.at("inputs", Json::Kind::array).items) found.inputs.push_back(tensor(item));
    for (const Json& item : entry.at("outputs", Json::Kind::array).items) found.outputs.push_back(tensor(item));
    return found;
}

trtswap_format format_of(const std::string& name) {
    if (name == "rgb") return TRTSWAP_RGB;
    if (name == "bgr") return TRTSWAP_BGR;
    if (name == "nv12") return TRTSWAP_NV12;
    if (name == "i420") return TRTSWAP_I420;
    fail(TRTSWAP_FOLDER, "embed.json: frames are \"", name, "\", expected rgb, bgr, nv12 or i420");
}

std::string contents(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(file), {}};
    if (!file)
        fail(TRTSWAP_FOLDER, path.string(), " cannot be read. Expected a folder that trtswap embed has written");
    return text;
}

}  // namespace

Description Description::of_folder(const std::string& folder) {
    const std::filesystem::path path(folder);
    const Json all = Json::parse(contents(path / "embed.json"));
    if (all.kind != Json::Kind::object || whole(all.at("format"), "format") != kFormat)
        fail(TRTSWAP_FOLDER, folder, " was written by another version of trtswap embed; this library reads format ",
             kFormat);
    Description d;
    const Json& frames = all.at("frames", Json::Kind::object);
    d.format = format_of(frames.at("format", Json::Kind::text).text);
    if (const Json& size = frames.at("size"); !size.is_null()) {
        if (size.items.size() != 2) fail(TRTSWAP_FOLDER, "embed.json: size is not [width, height]");
        d.width = static_cast<int32_t>(whole(size.items[0], "width"));
        d.height = static_cast<int32_t>(whole(size.items[1], "height"));
    }
    if (d.planes() > 1) {
        const Json& codes = frames.at("codes", Json::Kind::object);
        const Json &matrix = codes.at("matrix", Json::Kind::array), &offset = codes.at("offset", Json::Kind::array);
        if (matrix.items.size() != 3 || offset.items.size() != 3) fail(TRTSWAP_FOLDER, "embed.json: codes has no 3 rows");
        for (size_t i = 0; i < 3; ++i) {
            if (matrix.items[i].items.size() != 3) fail(TRTSWAP_FOLDER, "embed.json: codes has no 3 columns");
            d.offset[i] = static_cast<float>(offset.items[i].number);
            for (size_t k = 0; k < 3; ++k) d.codes[i][k] = static_cast<float>(matrix.items[i].items[k].number);
        }
    }
    d.faces = static_cast<int32_t>(whole(all.at("faces"), "faces"));
    if (d.faces < 1) fail(TRTSWAP_FOLDER, "embed.json: faces is 0, expected 1 or more");
    const Json& window = all.at("window", Json::Kind::object);
    d.window = window.at("side").is_null() ? 0 : static_cast<int32_t>(whole(window.at("side"), "window"));
    d.step = static_cast<int32_t>(std::max<int64_t>(1, whole(window.at("step"), "step")));
    d.min_face = static_cast<float>(all.at("min_face", Json::Kind::number).number);
    const Json& latents = all.at("latents", Json::Kind::object);
    d.latent = whole(latents.at("length"), "latents");
    if (!latents.at("similarity").is_null()) d.similarity = static_cast<float>(latents.at("similarity").number);
    const Json& source = all.at("source", Json::Kind::object);
    d.source = source.at("tensor", Json::Kind::text).text;
    d.length = whole(source.at("length"), "source");
    d.average = source.at("average", Json::Kind::text).text;
    const Json& pack = all.at("pack", Json::Kind::object);
    d.pack = pack.at("name", Json::Kind::text).text;
    d.licence = pack.at("licence", Json::Kind::text).text;
    const Json& graphs = all.at("graphs", Json::Kind::object);
    d.find = graph(graphs, "find", path);
    d.identify = graph(graphs, "identify", path);
    d.swap = graph(graphs, "swap", path);
    return d;
}

}  // namespace trtswap
