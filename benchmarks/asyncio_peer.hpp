// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "python_peer.hpp"
#include "table.hpp"

// Python's event loops, asyncio's own and uvloop: asyncio_peer.py does the work, in a process of its own.

namespace benchmark {

class PythonLoop {
public:
    PythonLoop(std::string name, const PythonPeer& peer) : name_{std::move(name)}, peer_{peer} {}

    [[nodiscard]] std::string named(const std::string& what) const { return name_ + ": " + what; }
    /// The nanoseconds that one operation took.
    double operator()(const std::string& work) const { return peer_(name_ + ' ' + work); }
    [[nodiscard]] std::vector<double> values(const std::string& work, std::size_t count) const {
        return peer_.values(name_ + ' ' + work, count);
    }

private:
    std::string name_;
    const PythonPeer& peer_;
};

/// Those that there are: both, asyncio's, or none.
inline const std::vector<PythonLoop>& python_loops() {
    static const std::vector<PythonLoop> loops = [] {
        const std::string with_uvloop = PythonPeer::interpreter_with("uvloop");
        std::vector<PythonLoop> found;
        if (with_uvloop.empty() && !PythonPeer::is_installed()) return found;
        static const PythonPeer peer{"asyncio_peer.py", {}, with_uvloop.empty() ? "python3" : with_uvloop};
        found.emplace_back("asyncio", peer);
        if (!with_uvloop.empty()) found.emplace_back("uvloop", peer);
        return found;
    }();
    return loops;
}

/// Says which of the two are missing.
inline void look_for_python_loops() {
    if (python_loops().empty()) missing("python3");
    if (python_loops().size() < 2) missing("uvloop");
}

}  // namespace benchmark
