// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/error.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/os/image.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// Where a function or a constant of this program lies, in words that mean the same in another start of it: the module,
// and the offset there. The executable needs no name, for both are starts of the same build, which is checked before
// anything else is. A library is named by its file and its build; the receiver takes the one that it has loaded, or
// loads the file, if that is still the same build.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

struct Library {
    std::array<std::byte, 16> identity{};
    std::string path;
};

struct Place {
    std::uint64_t offset = 0;
    std::optional<Library> library;  ///< empty: the executable
};

/// `what` stands in the error's text.
/// Throws: UsageError where another process could not find it: it lies in no module, or in one whose file is gone.
inline Place place_of(std::uintptr_t address, std::size_t size, std::string_view what) {
    const os::Image* const image = os::image_at(address);
    if (image == nullptr || !image->contains(address, size))
        throw UsageError("cannot send " + std::string(what) +
                         " to another process: it lies neither in the executable nor in a shared library, where "
                         "another process could find it (was it compiled at run time?); use StartMethod::fork or "
                         "Process::forked");
    if (image == &os::executable_image()) return {address - image->base(), std::nullopt};
    // The file as it is now: it was loaded long ago, perhaps.
    const auto identity = os::identity_of_file(image->path());
    if (identity != image->identity())
        throw UsageError("cannot send " + std::string(what) + " to another process: it lies in the shared library " +
                         image->path() + ", whose file was " + (identity ? "replaced" : "moved or deleted") +
                         " since, so that another process could not load it");
    return {address - image->base(), Library{image->identity(), image->path()}};
}

/// The module of a place that came from elsewhere; loads it, for good, where this process has not.
/// Throws: CodecError where it cannot be had.
inline const os::Image& module_of(const Place& place) {
    if (!place.library) return os::executable_image();
    const Library& library = *place.library;
    if (const os::Image* const loaded = os::loaded_image(library.identity)) return *loaded;
    const std::string name = "the shared library " + library.path;
    // Before it is loaded: that runs its initialisers.
    const auto identity = os::identity_of_file(library.path);
    if (!identity) throw CodecError("cannot decode a call into " + name + ": there is no such library now");
    if (identity != library.identity) throw CodecError("cannot decode a call into " + name + ": its file was replaced");
    if (const std::string reason = os::open_library(library.path); !reason.empty())
        throw CodecError("cannot decode a call into " + name + ": it cannot be loaded: " + reason);
    const os::Image* const loaded = os::loaded_image(library.identity);
    if (loaded == nullptr) throw CodecError("cannot decode a call into " + name + ": another build of it is loaded");
    return *loaded;
}

/// The constant `T` that lies at `place`, or null where none can.
template <class T>
const T* constant_at(const Place& place) {
    const os::Image& image = module_of(place);
    const std::uintptr_t address = image.base() + place.offset;
    if (address % alignof(T) != 0 || !image.contains(address, sizeof(T))) return nullptr;
    return reinterpret_cast<const T*>(address);
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
