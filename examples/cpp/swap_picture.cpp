// Every face of a picture becomes somebody else: swap_picture GRAPHS face.ppm in.ppm out.ppm
// The picture has the size that the graphs take, or any where they take any (trtswap embed without --size).
#include <cstdio>
#include <trtswap.hpp>

#include "ppm.hpp"

int main(int argc, char** argv) try {
    if (argc != 5) {
        std::fprintf(stderr, "usage: %s GRAPHS FACE.ppm IN.ppm OUT.ppm\n", argv[0]);
        return 2;
    }
    trtswap::Graphs graphs(argv[1]);
    Ppm source = Ppm::read(argv[2]), picture = Ppm::read(argv[3]);
    const trtswap::Person person = graphs.person({source.image()});
    const auto faces = graphs.find(picture.image());
    graphs.swap(picture.image(), picture.image(), faces, person);
    picture.write(argv[4]);
    std::printf("%zu faces\n", faces.size());
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
