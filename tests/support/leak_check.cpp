// SPDX-License-Identifier: MIT
#include "support/leak_check.hpp"

#include "support/deadline.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <string_view>
#include <system_error>

namespace support {
namespace {

using namespace std::chrono_literals;

/// Threads that the library's documentation says are shared and never joined.
constexpr std::array<std::string_view, 1> permanent_threads{"plait-timer"};

template <class Range, class Value, class Key>
bool contains(const Range& range, const Value& value, Key key) {
    return std::any_of(range.begin(), range.end(), [&](const auto& each) { return key(each) == key(value); });
}

/// plait's names in /dev/shm that this user owns. The library removes a name as soon as it is open, so that another
/// test's does not outlive the time that `leaks_since` waits.
std::vector<std::string> names_in_shared_memory() {
    std::vector<std::string> names;
    std::error_code missing;
    for (const auto& entry : std::filesystem::directory_iterator{"/dev/shm", missing}) {
        struct stat status{};
        if (::stat(entry.path().c_str(), &status) != 0 || status.st_uid != ::geteuid()) continue;
        const std::string name = entry.path().filename().string();
        if (name.find("plait") != std::string::npos) names.push_back(name);
    }
    return names;
}

}  // namespace

Holdings Holdings::now() {
    Holdings holdings;
    holdings.descriptors_ = open_descriptors();
    holdings.threads_ = support::threads();
    holdings.children_ = support::children();
    holdings.shared_memory_ = names_in_shared_memory();
    return holdings;
}

std::vector<std::string> Holdings::changes_since(const Holdings& before) const {
    std::vector<std::string> changes;
    const auto itself = [](const auto& value) { return value; };

    for (const Descriptor& descriptor : descriptors_)
        if (!contains(before.descriptors_, descriptor, itself))
            changes.push_back("descriptor " + std::to_string(descriptor.number) + " is open: " + descriptor.target);
    for (const Descriptor& descriptor : before.descriptors_)
        if (!contains(descriptors_, descriptor, [](const Descriptor& each) { return each.number; }))
            changes.push_back("descriptor " + std::to_string(descriptor.number) + " was closed: " + descriptor.target);

    for (const ThreadState& thread : threads_) {
        const bool permanent = contains(permanent_threads, std::string_view{thread.name}, itself);
        if (!permanent && !contains(before.threads_, thread, [](const ThreadState& each) { return each.id; }))
            changes.push_back("thread " + std::to_string(thread.id) + " lives: " + thread.name);
    }

    for (const ProcessState& child : children_)
        if (!contains(before.children_, child, [](const ProcessState& each) { return each.pid; }))
            changes.push_back("child " + std::to_string(child.pid) + " is " +
                              (child.state == 'Z' ? "a zombie" : "alive") + ": " + child.name);

    for (const std::string& name : shared_memory_)
        if (!contains(before.shared_memory_, name, itself)) changes.push_back("/dev/shm/" + name + " exists");
    return changes;
}

std::vector<std::string> leaks_since(const Holdings& before) {
    std::vector<std::string> changes;
    const bool clean = within(10s, [&] {
        changes = Holdings::now().changes_since(before);
        return changes.empty();
    });
    return clean ? std::vector<std::string>{} : changes;
}

}  // namespace support
