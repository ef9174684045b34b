// SPDX-License-Identifier: MIT
//
// The three strands at work, in a minute: what do processes, threads and coroutines do for the same job?
//
//   g++ -std=c++20 -O2 -pthread -I single_include examples/tour.cpp -o tour && ./tour [folder]
//
// Counts the words of every text file under a folder in four ways, lets a task crash and another hang, and does the jobs
// of a textbook in sequence and at once.

#include <plait/plait.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <system_error>
#include <unordered_set>
#include <vector>

namespace th = plait::threading;
namespace mp = plait::multiprocessing;
namespace aio = plait::asyncio;
using namespace std::chrono_literals;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

/// Prints what has begun; the rest of the line follows when it is done.
void announce(const char* what) {
    std::printf("  %-34s", what);
    std::fflush(stdout);
}

// --- The job: how many words, and how many different ones, are in a text? --------------------------------------------

struct Count {
    std::uint64_t files = 0;
    std::uint64_t words = 0;
    std::uint64_t different = 0;  // summed over the files

    void add(const Count& other) {
        files += other.files;
        words += other.words;
        different += other.different;
    }
    bool operator==(const Count&) const = default;
};

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

Count count_words(const std::string& text) {
    if (text.find('\0') != std::string::npos) return {};  // no text
    Count count{.files = 1};
    std::unordered_set<std::string> seen;
    std::string word;
    for (const char c : text + ' ') {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c < 0;
        if (letter) {
            word += c;
        } else if (!word.empty()) {
            ++count.words;
            seen.insert(word);
            word.clear();
        }
    }
    count.different = seen.size();
    return count;
}

Count count_file(const std::string& path) { return count_words(read_file(path)); }

aio::Coroutine<Count> count_later(std::string path) {
    const std::string text = co_await aio::to_thread(read_file, path);
    co_return count_words(text);
}

aio::Coroutine<std::vector<Count>> count_all_later(const std::vector<std::string>& paths) {
    std::vector<aio::Coroutine<Count>> counts;
    for (const std::string& path : paths) counts.push_back(count_later(path));
    co_return co_await aio::gather(std::move(counts));
}

/// All files under `folder` but hidden ones, such as those of .git.
std::vector<std::string> files_under(const std::string& folder) {
    namespace fs = std::filesystem;
    std::vector<std::string> paths;
    fs::recursive_directory_iterator walk(folder, fs::directory_options::skip_permission_denied);
    for (const fs::directory_entry& entry : walk) {
        const bool hidden = entry.path().filename().string().starts_with('.');
        std::error_code ignored;
        if (hidden && entry.is_directory(ignored)) walk.disable_recursion_pending();
        const bool grows = fs::equivalent(entry.path(), "/dev/stdout", ignored);  // ./tour > tour.txt
        if (!hidden && !grows && entry.is_regular_file(ignored) && !entry.is_symlink(ignored))
            paths.push_back(entry.path().string());
    }
    std::sort(paths.begin(), paths.end());
    return paths;
}

bool count_in_four_ways(const std::vector<std::string>& paths) {
    std::printf("\nThe words of %zu files (those that are text), counted four ways\n\n", paths.size());
    std::printf("  %-34s%8s%10s%10s%10s\n", "", "files", "words", "seconds", "speed-up");
    th::ThreadPool threads;
    mp::Pool processes;
    for (const std::string& path : paths) read_file(path);  // so that the first way does not pay for a cold disk
    Count first;
    double loop_seconds = 0;
    bool all_agree = true;
    const auto row = [&](const char* name, const std::function<std::vector<Count>()>& count_all) {
        announce(name);
        const auto begin = Clock::now();
        Count total;
        for (const Count& count : count_all()) total.add(count);
        const double seconds = seconds_since(begin);
        if (loop_seconds == 0) {
            first = total;
            loop_seconds = seconds;
        }
        all_agree = all_agree && total == first;
        std::printf("%8llu%10llu%10.4f%9.2fx\n", static_cast<unsigned long long>(total.files),
                    static_cast<unsigned long long>(total.words), seconds, loop_seconds / seconds);
    };

    row("a plain loop", [&] {
        std::vector<Count> counts;
        for (const std::string& path : paths) counts.push_back(count_file(path));
        return counts;
    });
    row("ThreadPool::map", [&] { return threads.map(count_file, paths); });
    row("multiprocessing Pool::map", [&] { return processes.map(count_file, paths); });
    row("coroutines, reading in threads", [&] { return aio::run(count_all_later(paths)); });
    std::printf("\n  %s\n", all_agree ? "All four agree." : "They do not agree: were files written meanwhile?");
    return all_agree;
}

// --- What nobody else shows: a crash and a hang are exceptions -------------------------------------------------------

int risky_square(int x) {
    if (x == 3) {
        volatile int* volatile nowhere = nullptr;
        *nowhere = x;  // a segmentation fault, for real
    }
    for (volatile bool stuck = (x == 5); stuck;) {
    }
    return x * x;
}

void crash_and_hang() {
    std::printf("\nOne task of a pool crashes, one runs for ever under a limit of 1 s\n\n");
    mp::Pool pool(mp::PoolOptions{.processes = 2, .task_timeout = 1s});
    std::vector<plait::Future<int>> squares;
    for (int x = 1; x <= 6; ++x) squares.push_back(pool.apply_async(mp::function<&risky_square>, x));
    for (int x = 1; x <= 6; ++x) {
        const std::string name = "risky_square(" + std::to_string(x) + ")";
        announce(name.c_str());
        try {
            std::printf("%d\n", squares[static_cast<std::size_t>(x) - 1].get());
        } catch (const plait::ProcessDied& death) {
            std::printf("ProcessDied: %s\n", death.what());
        } catch (const plait::TaskTimeoutError& timeout) {
            std::printf("TaskTimeoutError: %s\n", timeout.what());
        }
    }
}

// --- The jobs of a textbook ------------------------------------------------------------------------------------------

std::uint64_t count_down(std::uint64_t from) {
    volatile std::uint64_t left = from;
    while (left > 0) left = left - 1;
    return from;
}

aio::Coroutine<void> three_sleeps_in_sequence() {
    for (int i = 0; i < 3; ++i) co_await aio::sleep(200ms);
}

aio::Coroutine<void> three_sleeps_at_once() {
    co_await aio::gather(aio::sleep(200ms), aio::sleep(200ms), aio::sleep(200ms));
}

void textbook() {
    constexpr std::uint64_t much = 200'000'000;
    const auto row = [](const char* name, const std::function<void()>& job) {
        announce(name);
        const auto begin = Clock::now();
        job();
        std::printf("%8.2f s\n", seconds_since(begin));
    };
    std::printf("\nA loop that keeps a processor busy, twice (%u processors here)\n\n", mp::cpu_count());
    row("in sequence", [&] {
        count_down(much);
        count_down(much);
    });
    row("in two threads", [&] {
        th::Thread a(count_down, much);
        th::Thread b(count_down, much);
        a.start();
        b.start();
        a.join();
        b.join();
    });
    row("in two processes", [&] {
        mp::Process a(count_down, much);
        mp::Process b(count_down, much);
        a.start();
        b.start();
        a.join();
        b.join();
    });
    std::printf("\nThree sleeps of 0.2 s\n\n");
    row("one after the other", [] { aio::run(three_sleeps_in_sequence()); });
    row("gathered", [] { aio::run(three_sleeps_at_once()); });
}

int main(int argc, char** argv) {
    mp::freeze_support(argc, argv);  // the first line of a program that starts processes

    const std::string folder = argc > 1 ? argv[1] : ".";
    try {
        const std::vector<std::string> paths = files_under(folder);
        const bool agree = count_in_four_ways(paths);
        crash_and_hang();
        textbook();
        return agree ? 0 : 1;
    } catch (const std::filesystem::filesystem_error& error) {
        std::fprintf(stderr, "tour: cannot read the folder '%s': %s\n", folder.c_str(), error.code().message().c_str());
        std::fprintf(stderr, "usage: tour [folder]\n");
        return 1;
    }
}
