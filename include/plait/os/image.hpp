// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

// Contract: the images of this program, its executable and its shared libraries as they lie in memory.
//   Image
//     base                        where it was loaded; another start of the same file may load it elsewhere
//     contains(address, size)     whether that lies in one of its segments
//     contains_code(address)      whether that lies in an executable one
//     identity                    16 bytes that differ between any two builds
//     path                        a library's file; empty for the executable
//   executable_image()            -> const Image&
//   image_at(address)             -> const Image*           the one that holds that address, or null
//   loaded_image(identity)        -> const Image*           the one of that identity, or null
//   identity_of_file(path)        -> optional<identity>     of the library that lies there now, if one does
//   open_library(path)            -> std::string            loads it for good; empty, or why that cannot be
//   find_in_executable(words)     -> const void*            what begins with these words and then its own address, or null
//   keep_in_image(constant)                                 no linker takes it for unused
// An Image is told once and never changes; it holds as long as what it tells of stays loaded.

#if !defined(_WIN32)
#  include <plait/os/posix/image.hpp>
#endif
