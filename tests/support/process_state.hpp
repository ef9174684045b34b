// SPDX-License-Identifier: MIT
#pragma once

// What the system knows of processes, threads and descriptors, for tests that ask whether one is left. Linux only: it
// reads /proc.

#include <optional>
#include <string>
#include <vector>

namespace support {

/// A process as /proc/<pid>/stat tells it.
struct ProcessState {
    int pid = 0;
    int parent = 0;
    int group = 0;
    char state = '?';  ///< R running, S sleeping, D in the kernel, T stopped, Z zombie
    std::string name;
};

/// The process `pid`, or nothing where there is none.
[[nodiscard]] std::optional<ProcessState> process_state(int pid);

/// Whether `pid` is a process that still runs: a zombie does not.
[[nodiscard]] bool is_alive(int pid);
[[nodiscard]] bool is_zombie(int pid);

/// The children of `pid`, zombies among them; without an argument, this process's.
[[nodiscard]] std::vector<ProcessState> children(int pid);
[[nodiscard]] std::vector<ProcessState> children();

/// The children of `pid`, their children, and so on.
[[nodiscard]] std::vector<ProcessState> descendants(int pid);

/// An open descriptor and what it leads to, as `readlink` of /proc/self/fd says.
struct Descriptor {
    int number = -1;
    std::string target;
    friend bool operator==(const Descriptor&, const Descriptor&) = default;
};

[[nodiscard]] std::vector<Descriptor> open_descriptors();

/// A thread of this process and its name as the system knows it.
struct ThreadState {
    int id = 0;
    std::string name;
};

[[nodiscard]] std::vector<ThreadState> threads();

}  // namespace support
