// SPDX-License-Identifier: MIT
//
// How does a program survive a library that crashes? It calls that elsewhere: one call in a process of its own, or many
// in a pool's.
//
// Python, where the pool waits for ever for what became of "<<":
//
//     for text in inputs:
//         process = multiprocessing.Process(target=parse, args=(text,))
//         process.start()
//         process.join()
//         print(text, process.exitcode)

#include <plait/plait.hpp>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

namespace mp = plait::multiprocessing;
using namespace std::chrono_literals;

/// Somebody else's parser: it counts a text's brackets, and does not bear every text.
int parse(const std::string& text) {
    int depth = 0;
    int brackets = 0;
    for (const char c : text) {
        depth += c == '<' ? 1 : c == '>' ? -1 : 0;
        brackets += c == '<' ? 1 : 0;
        if (depth < 0) throw std::invalid_argument("a bracket closes that was not open");
        if (c == '!') std::_Exit(3);
        for (volatile bool done = c != '~'; !done;) continue;  // it never gets past that
    }
    if (depth > 0) std::raise(SIGSEGV);
    return brackets;
}

/// Prints what becomes of each text when `call` has it parsed.
template <class Call>
void parse_all(Call call) {
    for (const char* text : {"<a><b>", "a>", "<<", "<!>", "~", "<c>"}) {
        std::cout << text << ": ";
        try {
            std::cout << call(text) << " brackets\n";
        } catch (const plait::TaskTimeoutError&) {
            std::cout << "took too long\n";
        } catch (const plait::ProcessDied& death) {
            if (death.signal() != 0)
                std::cout << "crashed" << (death.signal() == SIGSEGV ? " by SIGSEGV\n" : "\n");
            else
                std::cout << "exited with status " << death.exitcode() << '\n';
        } catch (const std::invalid_argument& error) {
            std::cout << error.what() << '\n';  // what the parser threw, as it threw it
        }
    }
}

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);

    std::cout << "Each in a process of its own:\n";
    const mp::IsolatedOptions options{.timeout = 1s};
    parse_all([&](const char* text) { return mp::isolated(options, parse, text); });

    std::cout << "In a pool of two, which goes on:\n";
    mp::Pool pool(mp::PoolOptions{.processes = 2, .task_timeout = 1s});
    parse_all([&](const char* text) { return pool.apply(parse, text); });
}
