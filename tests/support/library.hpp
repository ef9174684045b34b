// SPDX-License-Identifier: MIT
#pragma once

#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>

// Shared libraries, for tests of what lies in them. tests/modules/plain_library.cpp is built twice, and the build says
// where it lies: with a build-id, and without one.

namespace support {

inline const std::string library_with_build_id = PLAIT_TEST_LIBRARY;
inline const std::string library_without_build_id = PLAIT_TEST_LIBRARY_WITHOUT_ID;

/// A file of its own, gone at the end of the scope, that a test may replace and delete.
class LibraryFile {
public:
    explicit LibraryFile(const std::string& original) {
        char name[] = "/tmp/plait-library-XXXXXX";
        if (::mkdtemp(name) == nullptr) throw std::runtime_error("mkdtemp");
        folder_ = name;
        path_ = folder_ + "/lib.so";
        std::filesystem::copy_file(original, path_);
    }
    LibraryFile(const LibraryFile&) = delete;
    LibraryFile& operator=(const LibraryFile&) = delete;
    ~LibraryFile() {
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }

    const std::string& path() const noexcept { return path_; }
    /// Another file takes the name; who has the old one open keeps that.
    void replace_by(const std::string& original) const {
        std::filesystem::copy_file(original, path_ + ".new");
        std::filesystem::rename(path_ + ".new", path_);
    }
    void remove() const { std::filesystem::remove(path_); }

private:
    std::string folder_;
    std::string path_;
};

/// Whether a process has the file in memory.
inline bool is_mapped(const std::string& path, const std::string& process = "self") {
    std::ifstream maps("/proc/" + process + "/maps");
    for (std::string line; std::getline(maps, line);)
        if (line.ends_with(path)) return true;
    return false;
}

/// A library that is loaded until the end of the scope.
class LoadedLibrary {
public:
    explicit LoadedLibrary(const std::string& path) : library_{::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)} {
        if (library_ == nullptr) throw std::runtime_error(::dlerror());
    }
    LoadedLibrary(const LoadedLibrary&) = delete;
    LoadedLibrary& operator=(const LoadedLibrary&) = delete;
    ~LoadedLibrary() { ::dlclose(library_); }

    using Function = int (*)(int);
    Function function() const { return reinterpret_cast<Function>(::dlsym(library_, "plain_function")); }
    std::uintptr_t constant() const { return reinterpret_cast<std::uintptr_t>(::dlsym(library_, "plain_constant")); }

private:
    void* library_;
};

}  // namespace support
