// SPDX-License-Identifier: MIT
#pragma once

#include "support/process_state.hpp"

#include <string>
#include <vector>

namespace support {

/// What this process holds of the system: descriptors, threads, children, names in /dev/shm. Taken before a case and
/// compared after it.
class Holdings {
public:
    /// What is held now.
    static Holdings now();

    /// What came or went since `before`, a sentence each; empty when nothing did.
    [[nodiscard]] std::vector<std::string> changes_since(const Holdings& before) const;

private:
    std::vector<Descriptor> descriptors_;
    std::vector<ThreadState> threads_;
    std::vector<ProcessState> children_;
    std::vector<std::string> shared_memory_;
};

/// Compares now with `before`, for a while if need be: a thread that has been joined may still be listed for a moment, and
/// on a busy machine a moment is long.
[[nodiscard]] std::vector<std::string> leaks_since(const Holdings& before);

}  // namespace support
