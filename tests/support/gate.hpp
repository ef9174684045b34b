// SPDX-License-Identifier: MIT
#pragma once

#include "support/deadline.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace support {

/// A folder of its own that goes with the object.
class TemporaryFolder {
public:
    TemporaryFolder() {
        std::string name = (std::filesystem::temp_directory_path() / "plait-test-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
        path_ = name;
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    [[nodiscard]] std::string file(const std::string& name) const { return (path_ / name).string(); }

private:
    std::filesystem::path path_;
};

/// Where another process stops until the test lets it go on: a named pipe, which that process opens for reading.
///
///     Gate gate;
///     auto future = pool.apply_async(pass_gate, gate.path());
///     REQUIRE(gate.reached());   // the task runs, and stands at the gate
///     gate.open();
class Gate {
public:
    Gate() : path_{folder_.file("gate")} {
        if (::mkfifo(path_.c_str(), 0600) != 0) throw std::runtime_error("mkfifo");
    }
    Gate(const Gate&) = delete;
    Gate& operator=(const Gate&) = delete;
    ~Gate() { open(); }

    [[nodiscard]] const std::string& path() const noexcept { return path_; }

    /// Waits until somebody stands there.
    [[nodiscard]] bool reached() {
        // Without a reader it cannot be opened for writing.
        return within(std::chrono::seconds{30}, [&] {
            if (writer_ < 0) writer_ = ::open(path_.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
            return writer_ >= 0;
        });
    }
    /// Lets go who stands there; of those who come later each needs another `reached` and `open`.
    void open() noexcept {
        if (writer_ >= 0) ::close(writer_);
        writer_ = -1;
    }

private:
    TemporaryFolder folder_;
    std::string path_;
    int writer_ = -1;
};

/// For the other process: stops at the gate.
inline int pass_gate(const std::string& path) {
    const int reader = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    char nothing = 0;
    while (::read(reader, &nothing, 1) < 0 && errno == EINTR) {
    }
    ::close(reader);
    return 1;
}

}  // namespace support
