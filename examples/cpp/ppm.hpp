// Pictures as PPM (P6), which every tool can write: convert face.png face.ppm
#pragma once

#include <fstream>
#include <stdexcept>
#include <string>
#include <trtswap.hpp>
#include <vector>

struct Ppm {
    int width = 0, height = 0;
    std::vector<unsigned char> pixels;

    static Ppm read(const std::string& path) {
        std::ifstream file(path, std::ios::binary);
        std::string kind;
        int most = 0;
        Ppm ppm;
        if (!(file >> kind >> ppm.width >> ppm.height >> most) || kind != "P6" || most != 255)
            throw std::runtime_error(path + " is no PPM picture of 8 bits");
        file.get();
        ppm.pixels.resize(static_cast<size_t>(ppm.width) * ppm.height * 3);
        if (!file.read(reinterpret_cast<char*>(ppm.pixels.data()), static_cast<std::streamsize>(ppm.pixels.size())))
            throw std::runtime_error(path + " ends too soon");
        return ppm;
    }

    void write(const std::string& path) const {
        std::ofstream file(path, std::ios::binary);
        file << "P6\n" << width << " " << height << "\n255\n";
        file.write(reinterpret_cast<const char*>(pixels.data()), static_cast<std::streamsize>(pixels.size()));
        if (!file) throw std::runtime_error(path + " cannot be written");
    }

    trtswap::Image image() { return {width, height, pixels.data()}; }
};
