// What wears a library out: stress GRAPHS face.rgb WIDTH HEIGHT cycles|threads COUNT
//
// cycles: opens the graphs, makes a person, swaps a frame in a stream and closes all, COUNT times; prints the memory.
// threads: COUNT threads on one handle, each with a stream, persons and faces of its own, and one that cancels.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>
#include <trtswap.hpp>
#include <vector>

namespace {

using Pixels = std::vector<unsigned char>;

trtswap::Options on_one_thread() {
    trtswap::Options options;
    options.threads = 1;
    return options;
}

Pixels swapped(trtswap::Graphs& graphs, Pixels frame, int width, int height) {
    const trtswap::Image image(width, height, frame.data());
    trtswap::StreamOptions options;
    options.sources = {graphs.person({image})};
    auto stream = graphs.stream(options);
    stream.swap(image, image);
    return frame;
}

long resident_kilobytes() {
    std::ifstream statm("/proc/self/statm");
    long whole = 0, resident = 0;
    statm >> whole >> resident;
    return resident * sysconf(_SC_PAGESIZE) / 1024;
}

int cycles(const char* folder, const Pixels& frame, int width, int height, int count) {
    Pixels first;
    for (int i = 0; i < count; ++i) {
        trtswap::Graphs graphs(folder, on_one_thread());
        Pixels made = swapped(graphs, frame, width, height);
        if (first.empty()) first = made;
        if (made != first) return 1;
        const int every = count < 100 ? 1 : count / 100;
        if ((i + 1) % every == 0) {
            std::printf("%d %ld\n", i + 1, resident_kilobytes());
            std::fflush(stdout);
        }
    }
    return first == frame ? 1 : 0;
}

int threads(const char* folder, const Pixels& frame, int width, int height, int count) {
    trtswap::Graphs graphs(folder, on_one_thread());
    const Pixels wanted = swapped(graphs, frame, width, height);
    std::atomic<int> other{0}, working{count};
    std::vector<std::thread> all;
    for (int i = 0; i < count; ++i)
        all.emplace_back([&] {
            for (int turn = 0; turn < 3; ++turn) try {
                    if (swapped(graphs, frame, width, height) != wanted) ++other;
                } catch (const trtswap::Error& error) {
                    if (error.status != TRTSWAP_CANCELLED) ++other;
                }
            --working;
        });
    all.emplace_back([&] {
        while (working > 0) {
            usleep(200000);
            graphs.cancel();
        }
    });
    for (auto& thread : all) thread.join();
    return other;
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc != 7) return 2;
    std::ifstream file(argv[2], std::ios::binary);
    const Pixels frame{std::istreambuf_iterator<char>(file), {}};
    const int width = std::atoi(argv[3]), height = std::atoi(argv[4]), count = std::atoi(argv[6]);
    return (std::strcmp(argv[5], "cycles") == 0 ? cycles : threads)(argv[1], frame, width, height, count);
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 3;
}
