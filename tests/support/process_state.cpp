// SPDX-License-Identifier: MIT
#include "support/process_state.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstddef>
#include <filesystem>
#include <sstream>
#include <string_view>
#include <system_error>

namespace support {
namespace {

namespace fs = std::filesystem;

/// The contents of a file of /proc, or nothing where it or its process is gone. Read without a stream: that throws where
/// a process ends between the open and the read.
std::optional<std::string> contents(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) return std::nullopt;
    std::string text;
    std::array<char, 4096> buffer{};
    ssize_t size = 0;
    while ((size = ::read(file, buffer.data(), buffer.size())) > 0)
        text.append(buffer.data(), static_cast<std::size_t>(size));
    ::close(file);
    if (size < 0) return std::nullopt;
    return text;
}

/// The entries of `folder` whose names are numbers. One that vanishes meanwhile is left out or not, as the system says.
std::vector<int> numbered_entries(const fs::path& folder) {
    std::vector<int> numbers;
    std::error_code gone;
    for (fs::directory_iterator entry{folder, gone}, end; !gone && entry != end; entry.increment(gone)) {
        const std::string name = entry->path().filename().string();
        int number = 0;
        const auto [rest, error] = std::from_chars(name.data(), name.data() + name.size(), number);
        if (error == std::errc{} && rest == name.data() + name.size()) numbers.push_back(number);
    }
    return numbers;
}

}  // namespace

std::optional<ProcessState> process_state(int pid) {
    const auto text = contents("/proc/" + std::to_string(pid) + "/stat");
    if (!text) return std::nullopt;
    // "pid (name) state parent group …"; the name may hold blanks and brackets, so it ends at the last bracket.
    const std::size_t open = text->find('(');
    const std::size_t close = text->rfind(')');
    if (open == std::string::npos || close == std::string::npos) return std::nullopt;
    ProcessState process;
    process.pid = pid;
    process.name = text->substr(open + 1, close - open - 1);
    std::istringstream rest{text->substr(close + 1)};
    rest >> process.state >> process.parent >> process.group;
    return process;
}

bool is_alive(int pid) {
    const auto process = process_state(pid);
    return process && process->state != 'Z' && process->state != 'X';
}

bool is_zombie(int pid) {
    const auto process = process_state(pid);
    return process && process->state == 'Z';
}

std::vector<ProcessState> children(int pid) {
    std::vector<ProcessState> found;
    for (const int candidate : numbered_entries("/proc"))
        if (const auto process = process_state(candidate); process && process->parent == pid) found.push_back(*process);
    return found;
}

std::vector<ProcessState> children() { return children(::getpid()); }

std::vector<ProcessState> descendants(int pid) {
    std::vector<ProcessState> found = children(pid);
    for (std::size_t i = 0; i < found.size(); ++i) {
        const std::vector<ProcessState> more = children(found[i].pid);
        found.insert(found.end(), more.begin(), more.end());
    }
    return found;
}

std::vector<Descriptor> open_descriptors() {
    std::vector<Descriptor> found;
    for (const int number : numbered_entries("/proc/self/fd")) {
        std::error_code closed;
        // The folder's own descriptor is in the list, and is closed by now.
        const fs::path target = fs::read_symlink("/proc/self/fd/" + std::to_string(number), closed);
        if (!closed) found.push_back({number, target.string()});
    }
    return found;
}

std::vector<ThreadState> threads() {
    std::vector<ThreadState> found;
    for (const int id : numbered_entries("/proc/self/task")) {
        auto name = contents("/proc/self/task/" + std::to_string(id) + "/comm");
        if (!name) continue;
        while (!name->empty() && name->back() == '\n') name->pop_back();
        found.push_back({id, *name});
    }
    return found;
}

}  // namespace support
