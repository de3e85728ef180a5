// A picture in memory and its PNG bytes; the only place that includes the stb image writer.
// SPDX-License-Identifier: MIT
//
// Trap  stb_image_write.h is one header with one include guard and one implementation switch for everybody.
// Its macros
//       are put aside and the code is compiled into a namespace of its own, so that a program which uses stb
//       itself, before or after this header, sees nothing of ours.
#pragma once

// What stb includes must already be here, or it would be declared inside the namespace.
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <mta/core/require.hpp>
#include <mta/io/file.hpp>
#include <vector>

#pragma push_macro("INCLUDE_STB_IMAGE_WRITE_H")
#pragma push_macro("STB_IMAGE_WRITE_IMPLEMENTATION")
#pragma push_macro("STB_IMAGE_WRITE_STATIC")
#pragma push_macro("STBI_WRITE_NO_STDIO")
#pragma push_macro("STBIWDEF")
#pragma push_macro("STBIW_ASSERT")
#undef INCLUDE_STB_IMAGE_WRITE_H
#undef STB_IMAGE_WRITE_IMPLEMENTATION
#undef STB_IMAGE_WRITE_STATIC
#undef STBI_WRITE_NO_STDIO
#undef STBIWDEF
#undef STBIW_ASSERT
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#define STBIW_ASSERT(condition) ((void)0)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wold-style-cast"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
namespace mta::io::detail::stb {
#if __has_include(<stb/stb_image_write.h>)
#include <stb/stb_image_write.h>
#elif __has_include(<stb_image_write.h>)
#include <stb_image_write.h>
#else
#error "mta: heat maps need stb_image_write.h (Debian: apt-get install libstb-dev)"
#endif
}  // namespace mta::io::detail::stb
#pragma GCC diagnostic pop
#pragma pop_macro("STBIW_ASSERT")
#pragma pop_macro("STBIWDEF")
#pragma pop_macro("STBI_WRITE_NO_STDIO")
#pragma pop_macro("STB_IMAGE_WRITE_STATIC")
#pragma pop_macro("STB_IMAGE_WRITE_IMPLEMENTATION")
#pragma pop_macro("INCLUDE_STB_IMAGE_WRITE_H")

namespace mta::io {

/// Red, green, blue.
using Colour = std::array<std::uint8_t, 3>;

/// A picture, row by row from the top left.
struct Image {
    std::size_t width = 0;
    std::size_t height = 0;
    std::vector<Colour> pixels;

    Image(std::size_t w, std::size_t h, Colour fill) : width{w}, height{h}, pixels(w * h, fill) {}
    Colour& at(std::size_t x, std::size_t y) { return pixels[y * width + x]; }
    const Colour& at(std::size_t x, std::size_t y) const { return pixels[y * width + x]; }
};

namespace detail {

/// The PNG file of an image of at least one pixel and at most 2^14 in each direction.
inline std::vector<std::byte> png_bytes(const Image& image) {
    std::vector<std::byte> bytes;
    const auto append = [](void* context, void* data, int size) {
        const auto* begin = static_cast<const std::byte*>(data);
        auto& to = *static_cast<std::vector<std::byte>*>(context);
        to.insert(to.end(), begin, begin + size);
    };
    const int width = static_cast<int>(image.width);
    const int height = static_cast<int>(image.height);
    const int ok =
        stb::stbi_write_png_to_func(append, &bytes, width, height, 3, image.pixels.data(), 3 * width);
    require<FileError>(ok != 0, "png_bytes: the PNG encoder got no memory for ", image.width, " x ",
                       image.height, " pixels");
    return bytes;
}

}  // namespace detail

}  // namespace mta::io
