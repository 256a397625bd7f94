// Raw frames in, raw frames out, as from one ffmpeg into another:
//
//   ffmpeg -i in.mp4 -f rawvideo -pix_fmt rgb24 - | ./swap_frames GRAPHS face.ppm 1280 720 | ffmpeg -f rawvideo ...
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <future>
#include <thread>
#include <trtswap.hpp>
#include <vector>

#include "ppm.hpp"

int main(int argc, char** argv) try {
    if (argc != 5) {
        std::fprintf(stderr, "usage: %s GRAPHS FACE.ppm WIDTH HEIGHT < frames > frames\n", argv[0]);
        return 2;
    }
    const int width = std::atoi(argv[3]), height = std::atoi(argv[4]);
    // As many frames at once as there are cores, each on one thread: faster than one frame on all of them.
    const size_t workers = std::max(1u, std::thread::hardware_concurrency());
    trtswap::Options options;
    options.threads = 1;
    trtswap::Graphs graphs(argv[1], options);
    Ppm source = Ppm::read(argv[2]);
    const trtswap::Person person = graphs.person({source.image()});

    std::deque<std::future<std::vector<unsigned char>>> ready;
    const auto write = [&] {
        const std::vector<unsigned char> frame = ready.front().get();
        ready.pop_front();
        if (std::fwrite(frame.data(), 1, frame.size(), stdout) != frame.size()) throw std::runtime_error("cannot write");
    };
    for (;;) {
        std::vector<unsigned char> frame(static_cast<size_t>(width) * height * 3);
        if (std::fread(frame.data(), 1, frame.size(), stdin) != frame.size()) break;
        if (ready.size() == workers) write();
        ready.push_back(std::async(std::launch::async, [&, frame = std::move(frame)]() mutable {
            const trtswap::Image image(width, height, frame.data());
            graphs.swap(image, image, graphs.find(image), person);
            return std::move(frame);
        }));
    }
    while (!ready.empty()) write();
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
