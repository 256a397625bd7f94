#include "frames.h"

#include <algorithm>
#include <cmath>

#include "cuda.h"
#include "failure.h"

namespace trtswap {
namespace {

constexpr int32_t kSmallest = 64, kLargest = 16384;

Rows rows_of(const trtswap_image& image, size_t i, const Plane& plane) {
    return {image.planes[i], image.strides[i] == 0 ? plane.row : image.strides[i], image.memory};
}

void check_sizes(const trtswap_image* image, const char* name) {
    expect(image != nullptr, name, " is NULL");
    expect(image->struct_size >= sizeof(trtswap_image), name, ".struct_size is ", image->struct_size, ", expected ",
           sizeof(trtswap_image));
    expect(image->width >= 1 && image->width <= kLargest && image->height >= 1 && image->height <= kLargest, name,
           " is ", image->width, "x", image->height, ", expected sides of 1 to ", kLargest, " pixels");
}

void check_planes(const trtswap_image* image, trtswap_format format, const char* name) {
    const auto planes = planes_of(format, image->width, image->height);
    for (size_t i = 0; i < planes.size(); ++i) {
        expect(image->planes[i] != nullptr, name, ".planes[", i, "] is NULL");
        expect(rows_of(*image, i, planes[i]).stride >= planes[i].row, name, ".strides[", i, "] is ", image->strides[i],
               ", but a row has ", planes[i].row, " bytes");
    }
}

// Pixels [height][width][3], 0..255.
struct Rgb {
    int32_t width, height;
    std::vector<float> values;
};

// Along one axis: every pixel the mean of what it covers, weighted by a triangle.
Rgb resized(const Rgb& from, int32_t size, bool vertical) {
    const int32_t length = vertical ? from.height : from.width;
    if (length == size) return from;
    Rgb to{vertical ? from.width : size, vertical ? size : from.height, {}};
    to.values.assign(static_cast<size_t>(to.width) * to.height * 3, 0);
    const double scale = static_cast<double>(length) / size, reach = std::max(1.0, scale);
    const size_t step = vertical ? static_cast<size_t>(from.width) * 3 : 3;
    const int32_t lines = vertical ? from.width : from.height;
    for (int32_t at = 0; at < size; ++at) {
        const double middle = scale * (at + 0.5) - 0.5;
        const auto first = std::max(0, static_cast<int32_t>(std::ceil(middle - reach)));
        const auto last = std::min(length - 1, static_cast<int32_t>(std::floor(middle + reach)));
        double sum = 0;
        for (int32_t i = first; i <= last; ++i) sum += 1 - std::abs(i - middle) / reach;
        for (int32_t i = first; i <= last; ++i) {
            const auto weight = static_cast<float>((1 - std::abs(i - middle) / reach) / sum);
            for (int32_t line = 0; line < lines; ++line) {
                const size_t row = vertical ? static_cast<size_t>(line) * 3 : static_cast<size_t>(line) * from.width * 3;
                const size_t out = vertical ? row + static_cast<size_t>(at) * to.width * 3
                                            : static_cast<size_t>(line) * to.width * 3 + static_cast<size_t>(at) * 3;
                for (size_t c = 0; c < 3; ++c) to.values[out + c] += weight * from.values[row + i * step + c];
            }
        }
    }
    return to;
}

uint8_t rounded(float value) { return static_cast<uint8_t>(std::clamp(value + 0.5F, 0.0F, 255.0F)); }

}  // namespace

std::vector<Plane> planes_of(trtswap_format format, int32_t width, int32_t height) {
    const auto w = static_cast<size_t>(width), h = static_cast<size_t>(height);
    const int64_t W = width, H = height;
    if (format == TRTSWAP_NV12) return {{"y", w, h, {1, H, W}}, {"uv", w, h / 2, {1, H / 2, W / 2, 2}}};
    if (format == TRTSWAP_I420)
        return {{"y", w, h, {1, H, W}}, {"u", w / 2, h / 2, {1, H / 2, W / 2}}, {"v", w / 2, h / 2, {1, H / 2, W / 2}}};
    return {{"frames", 3 * w, h, {1, H, W, 3}}};
}

void check(const trtswap_image* image, const Graphs& graphs, const char* name) {
    const Description& about = graphs.about;
    check_sizes(image, name);
    expect(image->memory == TRTSWAP_HOST || image->memory == TRTSWAP_CUDA, name, ".memory is ", image->memory,
           ", expected TRTSWAP_HOST or TRTSWAP_CUDA");
    expect(image->memory == TRTSWAP_HOST || graphs.on_gpu(), name, ".memory is TRTSWAP_CUDA, but the graphs run on ",
           graphs.provider());
    if (about.width != 0)
        expect(image->width == about.width && image->height == about.height, name, " is ", image->width, "x",
               image->height, ", but the graphs take ", about.width, "x", about.height);
    expect(image->width >= kSmallest && image->height >= kSmallest, name, " is ", image->width, "x", image->height,
           ", expected sides of ", kSmallest, " pixels or more");
    if (about.planes() > 1)
        expect(image->width % 2 == 0 && image->height % 2 == 0, name, " is ", image->width, "x", image->height,
               ", but planes of 4:2:0 have even sides");
    check_planes(image, about.format, name);
}

Input::Input(const trtswap_image& image, Graphs& graphs) {
    size_t i = 0;
    for (const Plane& plane : planes_of(graphs.about.format, image.width, image.height)) {
        Rows rows = rows_of(image, i++, plane);
        if (rows.stride != plane.row) {
            copies_.push_back(graphs.allocate(plane.row * plane.rows, image.memory));
            const Rows packed{copies_.back().get(), plane.row, image.memory};
            copy_rows(rows, packed, plane.row, plane.rows, graphs.stream());
            rows = packed;
        }
        views_[plane.name] = View::octets(rows.data, plane.shape, image.memory);
    }
    graphs.settle(image.memory);
}

Output::Output(const trtswap_image& image, Graphs& graphs) : image_(image), graphs_(graphs) {
    for (const Plane& plane : planes_of(graphs.about.format, image.width, image.height)) {
        memory_.push_back(graphs.allocate(plane.row * plane.rows, image.memory));
        views_[std::string("swapped_") + plane.name] = View::octets(memory_.back().get(), plane.shape, image.memory);
    }
}

void Output::copy() const {
    trtswap_image made = image_;
    for (size_t i = 0; i < memory_.size(); ++i) made.planes[i] = memory_[i].get(), made.strides[i] = 0;
    trtswap::copy(made, image_, graphs_);
}

void copy(const trtswap_image& from, const trtswap_image& to, const Graphs& graphs) {
    const auto planes = planes_of(graphs.about.format, from.width, from.height);
    for (size_t i = 0; i < planes.size(); ++i)
        if (from.planes[i] != to.planes[i])
            copy_rows(rows_of(from, i, planes[i]), rows_of(to, i, planes[i]), planes[i].row, planes[i].rows,
                      graphs.stream());
    // What comes to the host is there when the call returns, on whichever stream it came.
    if (from.memory == TRTSWAP_CUDA && to.memory == TRTSWAP_HOST) return wait(graphs.stream());
    graphs.settle(to.memory);
}

Picture::Picture(const trtswap_image& rgb, const Description& about, float share) {
    check_sizes(&rgb, "pictures");
    check_planes(&rgb, TRTSWAP_RGB, "pictures");
    expect(rgb.memory == TRTSWAP_HOST, "pictures.memory is ", rgb.memory, ", expected TRTSWAP_HOST");
    Rgb picture{rgb.width, rgb.height, {}};
    picture.values.resize(static_cast<size_t>(rgb.width) * rgb.height * 3);
    const Plane plane = planes_of(TRTSWAP_RGB, rgb.width, rgb.height).front();
    const Rows rows = rows_of(rgb, 0, plane);
    for (size_t y = 0; y < plane.rows; ++y)
        for (size_t x = 0; x < plane.row; ++x)
            picture.values[y * plane.row + x] = static_cast<const uint8_t*>(rows.data)[y * rows.stride + x];
    const auto frame = [](int32_t side) { return std::max(kSmallest, (side + 7) / 8 * 8); };
    width_ = about.width != 0 ? about.width : frame(rgb.width);
    height_ = about.height != 0 ? about.height : frame(rgb.height);
    const double fit = std::min({1.0, static_cast<double>(width_) / rgb.width, static_cast<double>(height_) / rgb.height});
    const auto side = [&](int32_t length) { return std::max(1, static_cast<int32_t>(std::lround(length * fit * share))); };
    picture = resized(resized(picture, side(rgb.width), false), side(rgb.height), true);
    const auto planes = planes_of(about.format, width_, height_);
    for (const Plane& plane : planes) planes_.emplace_back(plane.row * plane.rows);
    const auto at = [&](int32_t x, int32_t y, size_t c) {
        return x < picture.width && y < picture.height
                   ? picture.values[(static_cast<size_t>(y) * picture.width + x) * 3 + c]
                   : 0.0F;
    };
    const auto code = [&](int32_t x, int32_t y, size_t c) {
        float value = about.offset[c];
        for (size_t k = 0; k < 3; ++k) value += about.codes[c][k] * at(x, y, k) / 255.0F;
        return value;
    };
    for (int32_t y = 0; y < height_; ++y) {
        for (int32_t x = 0; x < width_; ++x) {
            const size_t place = static_cast<size_t>(y) * width_ + x;
            if (about.planes() > 1) {
                planes_[0][place] = rounded(code(x, y, 0));
                continue;
            }
            for (size_t c = 0; c < 3; ++c)
                planes_[0][place * 3 + c] = rounded(at(x, y, about.format == TRTSWAP_BGR ? 2 - c : c));
        }
    }
    for (int32_t y = 0; about.planes() > 1 && y < height_ / 2; ++y) {
        for (int32_t x = 0; x < width_ / 2; ++x) {
            for (size_t c = 1; c < 3; ++c) {
                // Chroma of the left column, the mean of both rows, as its place says.
                const float value = (code(2 * x, 2 * y, c) + code(2 * x, 2 * y + 1, c)) / 2;
                const size_t place = static_cast<size_t>(y) * (width_ / 2) + x;
                planes_[about.format == TRTSWAP_NV12 ? 1 : c][about.format == TRTSWAP_NV12 ? place * 2 + c - 1 : place] =
                    rounded(value);
            }
        }
    }
}

trtswap_image Picture::image() {
    trtswap_image image{};
    image.struct_size = sizeof(image);
    image.width = width_;
    image.height = height_;
    for (size_t i = 0; i < planes_.size(); ++i) image.planes[i] = planes_[i].data();
    return image;
}

}  // namespace trtswap
